"""The operating curve draws every share over the sizes."""

import xarray as xr

from ropediag.plots.operating_curve import plot_operating_curve


def test_each_share_is_a_curve_over_the_sizes():
    size = ("size", [0.5, 1.0], {"units": "std", "long_name": "planted"})
    shares = {name: ("size", values, {"long_name": name}) for name, values in
              (("recall", [0.4, 1.0]), ("precision", [0.9, 0.95]))}  # fmt: skip
    figure = plot_operating_curve(xr.Dataset(shares, {"size": size}))
    assert [(trace.name, trace.y.tolist()) for trace in figure.data] == [
        ("recall", [0.4, 1.0]),
        ("precision", [0.9, 0.95]),
    ]
    assert figure.layout.xaxis.title.text == "planted (std)"

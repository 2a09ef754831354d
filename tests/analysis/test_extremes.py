"""The words on an array name its largest and smallest value, found by loops."""

import numpy as np
import xarray as xr

from ropediag.analysis.extremes import describe_extremes


def make_array(values, **attrs):
    dims = ("layer", "query_head", "pair")[: np.ndim(values)]
    coordinates = {
        dim: 10 * (1 + place) + np.arange(np.shape(values)[place]) for place, dim in enumerate(dims)
    }
    return xr.DataArray(values, coordinates, dims, attrs=attrs)


def test_the_largest_and_the_smallest_are_those_of_a_loop():
    values = np.random.default_rng(0).normal(size=(3, 4, 5))
    values[0, 0] = np.nan
    listed = [
        (values[layer, head, pair], layer + 10, head + 20, pair + 30)
        for layer in range(3) for head in range(4) for pair in range(5) if (layer, head) != (0, 0)
    ]  # fmt: skip
    (high, *at_high), (low, *at_low) = max(listed), min(listed)
    places = ["layer {}, head {}, pair {}".format(*at) for at in (at_high, at_low)]
    expected = f"Largest: {high:.4g} nats at {places[0]}; smallest: {low:.4g} at {places[1]}."
    assert describe_extremes(make_array(values, units="nats")) == expected


def test_what_has_one_value_or_none_is_said_to():
    assert describe_extremes(make_array(np.full((2, 2), 3.0), units="1")) == "It is 3 everywhere."
    assert describe_extremes(make_array(np.full((2, 2), np.nan))) == "Nothing is known of it here."
    assert describe_extremes(make_array(np.array(1234.5), units="tokens")) == "It is 1,234 tokens."

"""The figures of ablations draw what their tables hold, and take no markup from a file."""

import numpy as np
import pytest
import xarray as xr

from ropediag.plots.repair_curves import plot_repair_curves
from ropediag.plots.repairs import plot_repairs
from ropediag.plots.style import BEFORE, DARK, PAST

PAIRS = ["pairs 4 to 7, past the critical one", "pairs 5", "pairs 4 to 7, past the critical one",
         "pairs 0 to 3, before the critical one"]  # fmt: skip


def make_repairs(models=("toy",) * 4):
    random = np.random.default_rng(0)
    table = {}
    for name in ("repaired", "repaired_low", "repaired_high"):
        table[name] = (
            ("ablation", "multiple"),
            random.normal(size=(4, 3)),
            {"long_name": f"meaning of {name}"},
        )
    table["random"] = (("ablation", "multiple", "set"), random.normal(size=(4, 3, 2)))
    table |= {
        "pairs": ("ablation", PAIRS),
        "change": ("ablation", list("abcd")),
        "model": ("ablation", list(models)),
    }
    axes = {
        "ablation": list("wxyz"),
        "multiple": ("multiple", [2.0, 4.0, 7.8125], {"long_name": "reach"}),
        "set": [0, 1],
    }
    return xr.Dataset(table, axes)


def drawn(figure):
    """The traces of the ablations themselves."""
    return [trace for trace in figure.data if trace.customdata is not None]


def test_dots_are_the_shares_and_bars_reach_to_the_ends_of_the_intervals():
    repairs = make_repairs()
    traces = drawn(plot_repairs(repairs))
    for trace, multiple in zip(traces, repairs.multiple.values, strict=True):
        at = repairs.sel(multiple=multiple)
        np.testing.assert_allclose(trace.x, at.repaired, rtol=1e-6)
        np.testing.assert_allclose(trace.x + trace.error_x.array, at.repaired_high, rtol=1e-5)
        np.testing.assert_allclose(trace.x - trace.error_x.arrayminus, at.repaired_low, rtol=1e-5)
        np.testing.assert_array_equal(np.round(trace.y), np.arange(4))


def test_random_sets_stand_in_the_row_of_their_ablation():
    repairs = make_repairs()
    random = [trace for trace in plot_repairs(repairs).data if "random set<" in (trace.hovertemplate or "")]
    for trace, multiple in zip(random, repairs.multiple.values, strict=True):
        np.testing.assert_allclose(trace.x, repairs.random.sel(multiple=multiple).values.ravel(), rtol=1e-6)
        np.testing.assert_array_equal(np.round(trace.y), np.repeat(np.arange(4), 2))


def test_the_same_pairs_have_the_same_colour_and_all_colours_turn_dark():
    for trace in drawn(plot_repairs(make_repairs())):
        first, second, third, fourth = trace.marker.color
        assert first == third == PAST
        assert fourth == BEFORE
        assert second not in (first, fourth)
        assert set(trace.marker.color) <= set(DARK)


def test_nothing_and_everything_repaired_are_marked():
    layout = plot_repairs(make_repairs()).layout
    assert [shape.x0 for shape in layout.shapes] == [0.0, 1.0]
    assert [note.text for note in layout.annotations] == [
        "as untouched",
        "as in windows of the training length",
    ]
    assert layout.xaxis.range[0] < 0
    assert layout.xaxis.range[1] > 1


def test_models_are_named_where_there_are_several_and_their_markup_is_shown_as_it_is():
    assert not any("toy" in label for label in plot_repairs(make_repairs()).layout.yaxis.ticktext)
    labels = plot_repairs(make_repairs(("<a href='x'>m</a>", "n", "n", "n"))).layout.yaxis.ticktext
    assert labels[0].endswith("a, &lt;a href='x'&gt;m&lt;/a&gt;")


@pytest.mark.parametrize("lacking", [(), ("nll_random",)])
def test_curves_are_the_arrays_and_the_trained_length_is_marked(lacking):
    random = np.random.default_rng(0)
    position = ("position", np.array([8, 16, 32]), {"units": "steps", "long_name": "place"})
    curves = xr.Dataset(
        {
            name: ("position", random.normal(size=3), {"units": "bits", "long_name": f"meaning of {name}"})
            for name in ("nll", "nll_windowed", "nll_changed", "nll_random")
        },
        {"position": position},
        {"model": "<b>toy", "trained": 16},
    ).drop_vars(lacking)
    figure = plot_repair_curves(curves)
    assert {trace.name for trace in figure.data} == {f"meaning of {name}" for name in curves}
    for trace in figure.data:
        np.testing.assert_allclose(trace.y, curves[trace.name.removeprefix("meaning of ")], rtol=1e-6)
    assert figure.layout.shapes[0].x0 == 16
    assert figure.layout.xaxis.title.text == "place (steps)"
    assert figure.layout.yaxis.title.text == "loss (bits)"
    assert figure.layout.title.text == "&lt;b&gt;toy"

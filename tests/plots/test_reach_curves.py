"""The figure of curves over the trained reach draws what their table holds."""

import numpy as np
import xarray as xr

from ropediag.plots.reach_curves import plot_reach_curves
from ropediag.plots.style import DARK


def make_curves(model="toy"):
    random = np.random.default_rng(0)
    at = ("at", np.array([0.5, 0.7, 1.0, 1.4]), {"long_name": "limit in reaches"})
    table = {
        name: (("ablation", "at"), random.normal(size=(3, 4)), {"long_name": f"meaning of {name}"})
        for name in ("repaired", "repaired_low", "repaired_high", "random_mean")
    }
    table["repaired"][1][1, 2] = np.nan
    table["random_mean"][1][2] = np.nan
    facts = {"model": [model, model, "n"], "kind": ["fold", "clip", "fold"], "pairs": ["pairs 4"] * 3,
             "smallest_reach": [16.0, 16.0, 300.0], "largest_reach": [16.0, 16.0, 4000.0]}  # fmt: skip
    return xr.Dataset(
        table | {name: ("ablation", values) for name, values in facts.items()},
        {"ablation": list("xyz"), "at": at},
    )


def test_lines_are_the_shares_over_reaches_on_the_left_and_over_tokens_on_the_right():
    curves = make_curves()
    lines = [trace for trace in plot_reach_curves(curves).data if trace.mode == "lines+markers"]
    assert len(lines) == 6
    for number, trace in enumerate(lines):
        one = curves.isel(ablation=number // 2)
        one = one.isel(at=np.isfinite(one.repaired.values))
        unit = one.smallest_reach.item() if number % 2 else 1
        np.testing.assert_allclose(trace.x, one.at * unit)
        np.testing.assert_allclose(trace.y, one.repaired, rtol=1e-6)
        np.testing.assert_allclose(trace.y + trace.error_y.array, one.repaired_high, rtol=1e-5)
        np.testing.assert_allclose(trace.y - trace.error_y.arrayminus, one.repaired_low, rtol=1e-5)
        assert trace.xaxis == ("x2" if number % 2 else "x")


def test_random_pairs_are_crosses_where_there_are_any():
    curves = make_curves()
    crosses = [trace for trace in plot_reach_curves(curves).data if trace.mode == "markers"]
    assert [trace.xaxis for trace in crosses] == ["x", "x2"] * 2
    np.testing.assert_allclose(crosses[0].y, curves.random_mean[0], rtol=1e-6)


def test_clip_and_fold_of_a_model_share_a_colour_that_turns_dark_and_differ_in_dashes():
    fold, _, clip, _, other, _ = (
        trace.line for trace in plot_reach_curves(make_curves()).data if trace.mode == "lines+markers"
    )
    assert fold.color == clip.color != other.color
    assert fold.dash != clip.dash
    assert {fold.color, other.color} <= set(DARK)


def test_the_reach_is_in_the_legend_and_marked():
    figure = plot_reach_curves(make_curves())
    names = [trace.name for trace in figure.data if trace.showlegend]
    assert names == [
        "toy, fold, pairs 4: reach 16",
        "toy, clip, pairs 4: reach 16",
        "n, fold, pairs 4: reach 300 to 4,000",
    ]
    assert [shape.x0 for shape in figure.layout.shapes if shape.type == "line" and shape.x0 == shape.x1] == [
        1
    ]

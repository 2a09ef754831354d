"""Names that a file or a user gave are shown as they are: plotly makes neither links nor bold of them."""

import json

import numpy as np
import pytest
import xarray as xr

from ropediag.analysis.theory import compare_theory, follow_law
from ropediag.plots.base_limit import plot_base_limit
from ropediag.plots.breakdown import plot_breakdown
from ropediag.plots.coverage import plot_coverage
from ropediag.plots.diagnostic import plot_diagnostic
from ropediag.plots.drift_curves import plot_drift_curves
from ropediag.plots.excess import plot_excess
from ropediag.plots.law import plot_limits
from ropediag.plots.overlay import plot_overlay
from ropediag.plots.pair_profile import plot_pair_profile
from ropediag.plots.reach import plot_reach
from ropediag.plots.reach_curves import plot_reach_curves
from ropediag.plots.recall import plot_recall
from ropediag.plots.repair_curves import plot_repair_curves
from ropediag.plots.repairs import plot_repairs
from ropediag.plots.style import plain_text
from ropediag.plots.theory import plot_theory
from ropediag.prediction import predict
from tests.plots.test_breakdown import make_breakdown
from tests.plots.test_overlay import make_curves
from tests.plots.test_reach import make_table
from tests.plots.test_reach_curves import make_curves as make_reach_curves
from tests.plots.test_recall import make_recall
from tests.plots.test_repairs import make_repairs

NAME = "<a href='https://evil.example'>A&B</a>"
ATTRS = {"units": "1", "long_name": "it"}


def draw_limits():
    names = ("predicted", "measured", "measured_low", "measured_high")
    table = {name: ("capture", [100.0], {"units": "tokens"}) for name in names}
    return plot_limits(xr.Dataset(table, {"capture": [NAME]}))


def draw_drifts():
    table = {name: (("capture", "pair"), np.ones((1, 2)), ATTRS) for name in ("largest", "mean", "drifting")}
    axes = {"capture": [NAME], "pair": ("pair", [0, 1], ATTRS)}
    return plot_drift_curves(xr.Dataset(table | {"critical_pair": ("capture", [1.0])}, axes))


def draw_excess():
    axes = {"model": [NAME], "position": ("position", [8, 16], ATTRS)}
    curves = xr.Dataset({"excess": (("model", "position"), np.ones((1, 2)), ATTRS)}, axes)
    return plot_excess(curves.assign_attrs(train_len=8, threshold=0.3))


def draw_profile():
    scalars = dict.fromkeys(("range_low", "range_high", "leave_low", "leave_high", "reach"), 1.0)
    scalars |= {"period": 9.0, "critical_pair": 1, "onset": np.nan, "onset_low": np.nan, "onset_high": np.nan}
    table = {name: ((), value, ATTRS) for name, value in scalars.items()}
    names = ("mean", "std", "mean_se", "lag_mean_min", "lag_mean_max")
    table |= {name: ("lag", np.ones(3), ATTRS) for name in names}
    attrs = {"model": NAME, "layer": 0, "query_head": 0, "pair": 1, "length": 8}
    return plot_pair_profile(xr.Dataset(table, {"lag": ("lag", [0, 1, 2], ATTRS)}, attrs))


def draw_repair_curves():
    axes = {"position": ("position", [8, 16], ATTRS)}
    return plot_repair_curves(
        xr.Dataset({"nll": ("position", np.ones(2), ATTRS)}, axes, {"model": NAME, "trained": 8})
    )


def draw_categories():
    axes = {dim: (dim, [NAME, "b"], ATTRS) for dim in ("kind", "other")}
    found = xr.Dataset({"it": (("kind", "other"), np.eye(2), ATTRS)}, axes, {"shows": "it"})
    return plot_diagnostic(found)


def predicted():
    return {NAME: predict(base=1e4, train_len=64, rotary_dim=32, target_len=512)}


DRAWN = {
    "breakdown": lambda: plot_breakdown(make_breakdown().assign_attrs(model=NAME)),
    "overlay": lambda: plot_overlay(make_curves().assign_coords(capture=[NAME, "b"])),
    "limits": draw_limits,
    "drifts": draw_drifts,
    "excess": draw_excess,
    "reach": lambda: plot_reach(make_table().assign(parent=("model", [NAME] * 4))),
    "profile": draw_profile,
    "recall": lambda: plot_recall(make_recall().assign_attrs(model=NAME)),
    "task": lambda: plot_recall(make_recall().assign_attrs(task=NAME)),
    "repair curves": draw_repair_curves,
    "reach curves": lambda: plot_reach_curves(make_reach_curves(NAME)),
    "repairs": lambda: plot_repairs(make_repairs((NAME, "n", "n", "n"))),
    "categories": draw_categories,
    "theory": lambda: plot_theory(compare_theory(predicted())),
    "coverage": lambda: plot_coverage(compare_theory(predicted())),
    "base limit": lambda: plot_base_limit(follow_law(predicted())),
}


def list_texts(node):
    """Every text of a figure but those of legend groups and ``meta``, which are never shown."""
    if isinstance(node, dict):
        return [
            text
            for key, each in node.items()
            if key not in ("legendgroup", "meta")
            for text in list_texts(each)
        ]
    if isinstance(node, list):
        return [text for each in node for text in list_texts(each)]
    return [node] if isinstance(node, str) else []


@pytest.mark.parametrize("name", DRAWN)
def test_a_name_with_markup_is_drawn_as_text(name):
    texts = list_texts(json.loads(DRAWN[name]().to_json()))
    assert any(plain_text(NAME) in text for text in texts)
    assert not any("<a " in text for text in texts)


def test_the_browser_shows_the_name_letter_by_letter(chromium, tmp_path):
    draw_limits().write_html(tmp_path / "limits.html")
    page = chromium.new_page()
    page.goto((tmp_path / "limits.html").as_uri())
    page.wait_for_selector(".legendtext")
    assert NAME in page.locator(".legendtext").all_text_contents()
    assert not page.locator(".legend a").count()
    page.close()

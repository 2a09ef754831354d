"""Claims about the three figures of one pair: they draw the arrays, mark what is known, and turn dark."""

import json
import re

import numpy as np
import pytest

from ropediag import open_capture
from ropediag.analysis.drift import measure_drift
from ropediag.analysis.pair_angles import measure_pair_angles
from ropediag.analysis.pair_profile import measure_pair_lengths, measure_pair_profile
from ropediag.plots.pair_angles import plot_pair_angles
from ropediag.plots.pair_norms import plot_pair_norms
from ropediag.plots.pair_profile import plot_pair_profile
from ropediag.plots.style import BEFORE, DARK, PAST, SHADE
from tests.analysis.captures import EXAMPLE


@pytest.fixture(scope="module")
def measured():
    """Of a pair that drifts, past the critical one, and of one that does not, before it."""
    with open_capture(EXAMPLE) as capture:
        drift = measure_drift(capture).load()
        return {
            pair: (
                measure_pair_profile(capture, layer, 1, pair, drift),
                measure_pair_angles(capture, layer, pair),
                measure_pair_lengths(capture, layer, 1, pair),
            )
            for layer, pair in ((1, 14), (0, 3))
        }


def draw(found):
    return [
        draw(each)
        for draw, each in zip((plot_pair_profile, plot_pair_angles, plot_pair_norms), found, strict=True)
    ]


def named(figure):
    return {trace.name: trace for trace in figure.data if trace.name}


def test_the_profile_draws_its_arrays_from_lag_1_on(measured):
    profile, figure = measured[14][0], plot_pair_profile(measured[14][0])
    traces = named(figure)
    mean = traces["mean contribution"]
    np.testing.assert_array_equal(mean.x, profile.lag.values[1:])
    np.testing.assert_array_equal(mean.y, profile["mean"].values[1:].astype("f4"))
    upper, lower = np.split(np.asarray(traces["mean ± standard deviation"].y), 2)
    np.testing.assert_allclose(upper, (profile["mean"] + profile["std"]).values[1:], rtol=1e-6)
    np.testing.assert_allclose(lower[::-1], (profile["mean"] - profile["std"]).values[1:], rtol=1e-6)
    sampled = [trace.y for trace in figure.data if trace.legendgroup == "sampled"]
    np.testing.assert_array_equal(sampled[0], profile.maximum.values[1:].astype("f4"))
    np.testing.assert_array_equal(sampled[1], profile.minimum.values[1:].astype("f4"))
    shaded = traces["range of the mean in training"].y
    assert {min(shaded), max(shaded)} == {float(profile.range_low), float(profile.range_high)}


def test_the_onset_is_marked_where_the_pair_drifts_and_only_there(measured):
    lines = {
        pair: [shape.x0 for shape in plot_pair_profile(found[0]).layout.shapes if shape.type == "line"]
        for pair, found in measured.items()
    }
    assert lines == {14: [128, float(measured[14][0].onset)], 3: []}  # pair 3 made a full turn
    text = " ".join(note.text for note in plot_pair_profile(measured[14][0]).layout.annotations)
    assert "drifts from lag 144" in text


def test_the_interval_of_the_onset_is_shaded_and_said(measured):
    profile = measured[14][0].copy()
    profile["onset_low"], profile["onset_high"] = profile.onset - 16, profile.onset + 32
    figure = plot_pair_profile(profile)
    (shade,) = [shape for shape in figure.layout.shapes if shape.type == "rect"]
    assert (shade.x0, shade.x1) == (128, 176)
    assert any("(95 % interval 128 to 176)" in note.text for note in figure.layout.annotations)


def test_the_colour_says_on_which_side_of_the_critical_pair_it_lies(measured):
    colours = {
        pair: named(plot_pair_profile(found[0]))["mean contribution"].line.color
        for pair, found in measured.items()
    }
    assert colours == {14: PAST, 3: BEFORE}


def test_the_arcs_begin_at_angle_0_and_end_where_the_arrays_say(measured):
    angles = measured[14][1]
    arcs = [trace for trace in plot_pair_angles(angles).data if trace.type == "barpolar"]
    ends = [(trace.theta[0] - trace.width[0] / 2, trace.theta[0] + trace.width[0] / 2) for trace in arcs]
    expected = [(0, np.degrees(float(angles[name]))) for name in ("arc_trained", "arc_length")]
    np.testing.assert_allclose(ends, expected, atol=1e-9)
    dots = {trace.name: trace for trace in plot_pair_angles(angles).data if trace.type == "scatterpolar"}
    seen = dots["sampled position, seen in training"].theta
    unseen = dots["sampled position, not seen in training"].theta
    assert max(seen) <= expected[0][1] < min(unseen)
    assert len(seen) + len(unseen) == angles.sizes["sample"]


def test_norms_are_steps_over_whole_bins(measured):
    lengths, traces = measured[14][2], named(plot_pair_norms(measured[14][2]))
    for side in ("query", "key"):
        np.testing.assert_array_equal(traces[side].x, [*lengths.norm_bin.values, 8192])
        np.testing.assert_array_equal(traces[side].y[:-1], lengths[f"{side}_norm"].values.astype("f4"))
        assert traces[side].line.shape == "hv"


def test_every_colour_has_one_for_the_dark_page_and_figures_are_small(measured):
    for found in measured.values():
        for figure in draw(found):
            text = figure.to_json()
            own = json.dumps({"data": json.loads(text)["data"], "shapes": json.loads(text)["layout"]})
            colours = set(re.findall(r"#[0-9a-f]{6}|rgba\([^)]*\)", own)) - {SHADE}
            assert colours <= set(DARK)
            assert len(text) < 20_000


def test_a_pair_that_the_layer_lacks_is_drawn_as_nothing(measured):
    blank = [each.where(False).assign_attrs(each.attrs) for each in measured[3]]
    for each, whole in zip(blank, measured[3], strict=True):
        for name in {"critical_pair", "reach", "trained"} & set(whole):
            each[name] = whole[name]
    for figure in draw(blank):
        shown = [trace.y if trace.type == "scatter" else trace.theta for trace in figure.data]
        assert not any(np.isfinite(np.asarray(values, dtype=float)).any() for values in shown if len(values))

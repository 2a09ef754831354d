"""The figures of theory draw what their arrays hold."""

import math

import numpy as np
import pytest

from ropediag.analysis.theory import compare_theory, follow_law
from ropediag.plots.base_limit import plot_base_limit
from ropediag.plots.coverage import plot_coverage
from ropediag.plots.style import DARK
from ropediag.plots.theory import plot_theory
from ropediag.prediction import predict

NUMBERS = {"train_len": 4096, "rotary_dim": 128, "target_len": 65536, "retrieval": False}


@pytest.fixture(scope="module")
def settings():
    return {
        "plain": predict(base=1e4, **NUMBERS),
        "tuned": predict(base=1e6, pretrain_base=1e4, tune_len=16384, **NUMBERS),
        "every pair trained": predict(base=20.0, pretrain_base=20.0, train_len=4096, rotary_dim=32),
    }


def test_periods_are_drawn_with_their_critical_pair_and_each_length_once(settings):
    compared = compare_theory(settings)
    figure = plot_theory(compared)
    assert [trace.name for trace in figure.data] == [name for name in settings for _ in range(3)]
    dashed, solid, diamond = figure.data[3:6]
    np.testing.assert_allclose(dashed.y, compared.pretrain_period.sel(setting="tuned"), rtol=1e-6)
    np.testing.assert_allclose(solid.y, compared.period.sel(setting="tuned"), rtol=1e-6)
    assert (dashed.line.dash, dashed.line.color) == ("dash", solid.line.color)
    assert (diamond.x.tolist(), diamond.y.tolist()) == ([46], pytest.approx([129026.78]))
    assert len(figure.data[8].x) == 0  # no pair is critical
    assert [shape.y0 for shape in figure.layout.shapes] == [4096, 16384, 65536]
    texts = {mark.text: mark.y for mark in figure.layout.annotations}
    assert texts["training length and tuning length: 4,096"] == pytest.approx(math.log10(4096))
    assert set(texts) > {"tuning length: 16,384", "target: 65,536"}


def test_the_law_is_drawn_with_critical_bases_and_the_settings_themselves(settings):
    law = follow_law(settings)
    figure = plot_base_limit(law)
    curve, point = figure.data[2:4]
    np.testing.assert_allclose(curve.y, law.limit.sel(setting="tuned"), rtol=1e-6)
    assert (point.x.tolist(), point.y.tolist()) == ([1e6], pytest.approx([129026.78]))
    vertical = [shape.x0 for shape in figure.layout.shapes if shape.yref == "paper"]
    assert vertical == pytest.approx(law.critical_base.values.tolist())
    assert figure.layout.xaxis.type == figure.layout.yaxis.type == "log"


def test_coverage_has_an_area_where_there_is_a_target(settings):
    compared = compare_theory(settings)
    figure = plot_coverage(compared)
    areas = [trace for trace in figure.data if trace.fill]
    assert [area.name for area in areas] == ["plain", "tuned"]
    np.testing.assert_allclose(areas[0].y, compared.new_fraction.sel(setting="plain"), rtol=1e-6)
    assert [trace.name for trace in figure.data if not trace.fill][::2] == list(settings)


def test_the_figures_are_small_and_turn_dark(settings):
    four = {f"{name} {copy}": found for copy in (1, 2) for name, found in list(settings.items())[:2]}
    for figure in (
        plot_theory(compare_theory(four)),
        plot_base_limit(follow_law(four)),
        plot_coverage(compare_theory(four)),
    ):
        assert len(figure.to_json()) < 30_000
        for trace in figure.data:
            assert (trace.marker.color or trace.line.color) in DARK

"""Claims about the averages behind the breakdown's picture, on synthetic captures."""

import numpy as np
import pytest

from ropediag.analysis.breakdown import PER_DOUBLING, REACH, measure_breakdown, merge_bins, smooth_by_ratio
from ropediag.analysis.overlay import overlay_breakdowns
from ropediag.errors import ConfigError
from ropediag.plots.breakdown import plot_breakdown
from ropediag.plots.overlay import plot_overlay
from ropediag.schema import lag_edges, position_edges
from ropediag.store import CaptureWriter, open_capture
from tests.store.synthetic import make_attributes, make_header, make_layer, make_loss, write_units


@pytest.fixture
def capture(tmp_path):
    header = make_header()
    attributes = make_attributes(pretrain_base=10_000.0, train_len=16, tune_len=16)
    with CaptureWriter.create(tmp_path / "toy.h5", header, attributes) as writer:
        write_units(writer, header)
        path = writer.finish({})
    with open_capture(path) as capture:
        yield capture


def merge_slowly(edges, length):
    """Put each bin where its centre lies, one by one; name a group by its first bin."""
    groups = {}
    for index, edge in enumerate(edges):
        stop = edges[index + 1] if index + 1 < len(edges) else length
        lower = max(lower for lower in lag_edges(length) if lower <= (edge + stop) / 2)
        groups.setdefault(lower, index)
    return list(groups.values())


@pytest.mark.parametrize(("length", "bins"), [(40, 8), (1000, 512), (8192, 512), (65_536, 512)])
def test_merged_bins_equal_a_search_bin_by_bin(length, bins):
    edges = position_edges(length, bins)
    assert merge_bins(np.array(edges), length).tolist() == merge_slowly(edges, length)


def test_bins_of_16_tokens_stay_apart_up_to_128_and_double_from_there():
    starts = merge_bins(np.array(position_edges(8192, 512)), 8192) * 16
    assert starts[starts < 256].tolist() == list(range(0, 256, 16))
    assert np.diff(starts[(starts >= 256) & (starts < 512)]).tolist() == [32] * 7


@pytest.mark.parametrize(("length", "span"), [(40, 8), (500, 32)])
def test_smoothing_equals_a_mean_taken_stretch_by_stretch(length, span):
    values = np.random.default_rng(0).normal(size=(3, length))
    values[:, 0] = np.nan
    centres, means = smooth_by_ratio(values, span)
    for centre, mean in zip(centres, means.T, strict=True):
        half = max(span // 2, round(REACH * centre))
        np.testing.assert_allclose(mean, values[:, centre - half : centre + half].mean(1), atol=1e-12)
    assert len(np.unique(centres)) == len(centres)


def test_the_loss_is_drawn_as_far_as_whole_stretches_fit():
    values = np.ones((1, 4096))
    values[:, 0] = np.nan
    centres, means = smooth_by_ratio(values, 32)
    assert centres[0] == 17
    assert 4096 / 1.2 < centres[-1] < 4096
    assert np.sum((centres >= 512) & (centres < 1024)) == PER_DOUBLING
    np.testing.assert_allclose(means, 1.0)


def test_logits_are_averaged_over_sequences_layers_heads_and_neighbouring_queries(capture):
    header = make_header()
    found = measure_breakdown(capture)
    units = [make_layer(header, sequence, layer) for sequence in (0, 1) for layer in (0, 1, 2)]
    means = np.stack([unit["partial/past_mean"] for unit in units]).mean((0, 1))
    squares = np.stack([unit["partial/past_std"].astype(float) ** 2 for unit in units]).mean((0, 1))
    assert found.query_position.values.tolist() == [2, 7, 12, 17, 22, 27, 32, 37]  # bins of 5 tokens, 0 .. 39
    np.testing.assert_allclose(found.past_mean, means, rtol=1e-5)
    np.testing.assert_allclose(found.past_std, np.sqrt(squares), rtol=1e-5)


def test_one_layer_and_head_are_that_layer_and_head(capture):
    header = make_header()
    found = measure_breakdown(capture, layer=2, query_head=3)
    units = [make_layer(header, sequence, 2)["partial/before_mean"][3] for sequence in (0, 1)]
    np.testing.assert_allclose(found.before_mean, np.mean(units, axis=0), rtol=1e-5)
    assert found.attrs["averaged"] == "layer 2, head 3, mean over 2 sequences"


@pytest.mark.parametrize("chosen", [{"layer": 3}, {"query_head": -1}])
def test_a_layer_or_head_that_was_not_captured_is_refused(capture, chosen):
    with pytest.raises(ConfigError, match=next(iter(chosen))):
        measure_breakdown(capture, **chosen)


def test_excess_is_the_difference_of_the_losses_and_its_spread_that_over_sequences(capture):
    found = measure_breakdown(capture)
    excess = np.stack([make_loss(s)["loss/nll"] - make_loss(s)["loss/nll_windowed"] for s in (0, 1)])
    _, smooth = smooth_by_ratio(excess.astype(float), 32)
    np.testing.assert_allclose(found.excess, smooth.mean(0), atol=1e-6)
    np.testing.assert_allclose(found.excess_se, np.abs(smooth[0] - smooth[1]) / 2, atol=1e-6)
    np.testing.assert_allclose(found.nll - found.nll_windowed, found.excess, atol=1e-6)


def test_every_variable_says_its_unit_and_its_meaning(capture):
    found = measure_breakdown(capture)
    for name, array in found.variables.items():
        assert {"units", "long_name"} <= set(array.attrs), name
    assert found.before_mean.attrs["long_name"] == "partial logit of pairs 0 to 0, before the critical one"
    assert found.past_mean.attrs["long_name"] == "partial logit of pairs 1 to 2, the critical one and slower"
    assert found.train_len == 16


def test_without_windowed_loss_there_is_no_excess_and_no_measured_limit(tmp_path):
    header = make_header(sequences=1)
    attributes = make_attributes(pretrain_base=10_000.0, train_len=16, tune_len=16)
    with CaptureWriter.create(tmp_path / "toy.h5", header, attributes) as writer:
        for layer in (0, 1, 2):
            writer.write_layer(0, layer, make_layer(header, 0, layer))
        writer.write_loss(0, {"loss/nll": make_loss(0)["loss/nll"]})
        path = writer.finish({})
    with open_capture(path) as capture:
        found = measure_breakdown(capture)
    assert "nll" in found
    assert "excess" not in found
    assert np.isnan(found.measured_limit)


@pytest.mark.parametrize("stated", [{"train_len": 0}, {}], ids=["zero", "missing"])
def test_without_a_training_length_logits_and_loss_are_drawn_and_nothing_is_marked(tmp_path, stated):
    header, attributes = make_header(), make_attributes() | stated
    for name in ("train_len", "tune_len", "base", "pretrain_base", "model"):
        if name not in stated:
            del attributes[name]
    with CaptureWriter.create(tmp_path / "toy.h5", header, attributes) as writer:
        write_units(writer, header)
        path = writer.finish({})
    with open_capture(path) as capture:
        found = measure_breakdown(capture)
    assert all(np.isnan(found[name]) for name in ("train_len", "predicted_limit", "measured_limit"))
    assert found.nll_windowed.attrs["long_name"] == "at most the training length of context"
    figure = plot_breakdown(found)
    assert len([trace for trace in figure.data if trace.fill is None]) == 4
    assert not figure.layout.annotations
    assert not figure.layout.shapes
    overlaid = overlay_breakdowns({"toy": found})
    for along in ("position", "multiple"):
        assert np.isfinite(plot_overlay(overlaid, along).layout.xaxis.range).all()

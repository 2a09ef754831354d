"""Whole captures of every supported family, against all query-key pairs written out."""

from itertools import pairwise

import numpy as np
import pytest
import torch

import ropediag
from ropediag.errors import CaptureError, ConfigError, ModelError
from ropediag.limits import critical_pair
from ropediag.models.loss import nll_windowed
from ropediag.models.tap import tap_attention
from ropediag.rope import inv_freq, rotate
from ropediag.rope_config import read_layers
from ropediag.scaling import spec_from_config, yarn_inv_freq
from ropediag.testing.tiny import tiny_model as any_tiny_model
from ropediag.theory.phases import PhaseSpec
from tests.families import FAMILIES, tiny_model, tokens

LENGTH, TRAIN_LEN = 150, 48
KEPT = ((0, 1), (1, 0), (1, 2))  # (layer, query head)


def written_out(model, ids, layer, rotation):
    """Every contribution (head, pair, query, key), the rest, and the eager logits before the softmax."""
    kept = []

    def keep(call):
        if call.layer == layer:
            kept.append(call)
        return call.attend()

    with torch.no_grad(), tap_attention(model, keep):
        model(ids)
    call = kept[0]
    query, key = call.query[0].double().numpy(), call.key[0].double().numpy()
    key = np.repeat(key, len(query) // len(key), axis=0)
    channels = rotation["rope/channels"].values[layer]
    channels = channels[channels[:, 0] >= 0]
    rest = np.setdiff1d(np.arange(query.shape[-1]), channels)
    contributions = call.scaling * np.einsum("htpc,hspc->hpts", query[:, :, channels], key[:, :, channels])
    unrotated = call.scaling * np.einsum("htc,hsc->hts", query[..., rest], key[..., rest])
    eager = call.scaling * np.einsum("htc,hsc->hts", query, key)
    return contributions, unrotated, eager, call.window or ids.shape[1]


def visible(length, window, start, stop):
    lag = np.arange(length)[:, None] - np.arange(length)
    return (lag >= start) & (lag < min(stop, window))


@pytest.fixture(scope="module", params=list(FAMILIES))
def captured(request, tmp_path_factory):
    model, ids = tiny_model(request.param), tokens(LENGTH)
    path = tmp_path_factory.mktemp(request.param) / "capture.h5"
    options = {"train_len": TRAIN_LEN, "rows": 12, "keep_qk": KEPT}
    ropediag.capture_model(model, ids, path, name=request.param, **options)
    with ropediag.open_capture(path) as capture:
        yield model, ids, capture


@pytest.mark.parametrize("layer", [0, 1])
def test_scores_are_exact_over_all_query_key_pairs(captured, layer):
    model, ids, capture = captured
    contributions, unrotated, eager, window = written_out(model, ids, layer, capture)
    pairs = contributions.shape[1]
    assert np.abs(contributions.sum(1) + unrotated - eager).max() < 1e-5 * np.abs(eager).max()
    edges = [*capture["scores/mean"].lag.values, LENGTH]
    scores = {
        name: capture[f"scores/{name}"].sel(layer=layer).values
        for name in ("mean", "std", "rest_mean", "count")
    }
    low, high = (capture[f"scores/lag_mean_{end}"].sel(layer=layer)[0].values for end in ("min", "max"))
    for bin_, (start, stop) in enumerate(pairwise(edges)):
        seen = visible(LENGTH, window, start, stop)
        assert scores["count"][bin_] == seen.sum()
        if not seen.any():
            assert np.isnan(scores["mean"][..., bin_]).all()
            continue
        inside = contributions[..., seen]
        scale = 2e-6 * np.abs(contributions).max(initial=1.0)  # the file holds float32
        np.testing.assert_allclose(scores["mean"][:, :pairs, bin_], inside.mean(-1), atol=scale)
        np.testing.assert_allclose(scores["std"][:, :pairs, bin_], inside.std(-1), atol=scale)
        np.testing.assert_allclose(scores["rest_mean"][:, bin_], unrotated[:, seen].mean(-1), atol=scale)
        singles = [
            contributions[..., visible(LENGTH, window, lag, lag + 1)].mean(-1)
            for lag in range(start, min(stop, window))
        ]
        np.testing.assert_allclose(low[:, :pairs, bin_], np.min(singles, axis=0), atol=scale)
        np.testing.assert_allclose(high[:, :pairs, bin_], np.max(singles, axis=0), atol=scale)


@pytest.mark.parametrize("layer", [0, 1])
def test_partial_logits_split_at_the_critical_pair(captured, layer):
    model, ids, capture = captured
    contributions, _, _, window = written_out(model, ids, layer, capture)
    critical = int(capture["rope/critical_pair"].sel(layer=layer))
    groups = {"before": slice(0, critical), "past": slice(critical, None)}
    for name, pairs in groups.items():
        mean, std = (capture[f"partial/{name}_{s}"].sel(layer=layer)[0].values for s in ("mean", "std"))
        if critical < 0:
            assert np.isnan(mean).all()
            continue
        logit = contributions[:, pairs].sum(1)
        for t in (0, 1, 40, LENGTH - 1):  # as many bins as positions here
            seen = logit[:, t, max(0, t + 1 - window) : t + 1]
            np.testing.assert_allclose(mean[:, t], seen.mean(-1), atol=1e-4)
            np.testing.assert_allclose(std[:, t], seen.std(-1), atol=1e-4)


def test_critical_pairs_follow_the_training_length_and_the_window(captured):
    model, _, capture = captured
    periods = spec_from_config(model.config.to_dict(), scaled=False).periods
    windows = [layer.window for layer in read_layers(model.config.to_dict())]
    for layer in (0, 1):
        length = min(TRAIN_LEN, windows[layer] or TRAIN_LEN)
        expected = int((periods[layer] <= length).sum()) if np.isfinite(periods[layer]).any() else -1
        assert int(capture["rope/critical_pair"].sel(layer=layer)) == expected


YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 24}
PHASES = (  # of a model with four pairs, at base 10,000
    PhaseSpec(24, 100.0, label="pretraining", source="a test"),
    PhaseSpec(100, 1e4, window=40),
    PhaseSpec(60, 1e4, YARN),
)


def test_phases_are_kept_with_their_rotations_and_the_longest_is_the_window_of_the_loss(tmp_path):
    model, ids = tiny_model("llama"), tokens(LENGTH)
    path = ropediag.capture_model(model, ids, tmp_path / "a.h5", phases=PHASES, rows=4)
    rotations = [inv_freq(8, 100.0), inv_freq(8, 1e4), yarn_inv_freq(8, 1e4, 4.0, 24)]
    with ropediag.open_capture(path) as capture:
        assert capture.values("training/sequence_len").tolist() == [24, 100, 60]
        assert capture.values("training/label").tolist() == ["pretraining", "", ""]
        assert capture.values("training/source").tolist() == ["a test", "", ""]
        assert capture.values("training/base").tolist() == [[100.0] * 2, [1e4] * 2, [1e4] * 2]
        assert capture.values("training/window").tolist() == [[-1, -1], [40, 40], [-1, -1]]
        for phase, rotation in enumerate(rotations):
            for layer in (0, 1):
                np.testing.assert_allclose(
                    capture.values("training/inv_freq")[phase, layer], rotation, rtol=1e-6
                )
        turned = [
            any(
                rotation[pair] * span >= 2 * np.pi
                for rotation, span in zip(rotations, (24, 40, 60), strict=True)
            )
            for pair in range(4)
        ]
        assert capture.values("rope/critical_pair").tolist() == [turned.index(False)] * 2
        for sequence, row in enumerate(ids):
            expected = nll_windowed(model, row, 100)
            np.testing.assert_allclose(capture.values("loss/nll_windowed")[sequence], expected, atol=1e-5)
        assert [capture.attrs[name] for name in ("pretrain_base", "train_len", "tune_len")] == [100.0, 24, 60]


@pytest.mark.parametrize("pretrain_base", [None, 1e5])
def test_a_model_with_several_bases_has_that_of_its_widest_layers_and_records_all(pretrain_base, tmp_path):
    model = any_tiny_model("gemma3_text")
    bases = {"sliding_attention": 1e4, "full_attention": 1e6}
    options = {"train_len": TRAIN_LEN, "rows": 4, "excess": False, "pretrain_base": pretrain_base}
    path = ropediag.capture_model(model, tokens(LENGTH), tmp_path / "capture.h5", **options)
    kinds = model.config.layer_types
    with ropediag.open_capture(path) as capture:
        assert capture.attrs["base"] == 1e6
        assert capture.values("rope/base").tolist() == [bases[kind] for kind in kinds]
        critical = capture.values("rope/critical_pair").tolist()
    before = bases | {"full_attention": pretrain_base or 1e6}  # of the base that was changed, no other
    windows = {"sliding_attention": model.config.sliding_window, "full_attention": TRAIN_LEN}
    assert critical == [
        critical_pair(inv_freq(16, before[kind]), min(TRAIN_LEN, windows[kind])) for kind in kinds
    ]


def test_kept_vectors_redraw_the_attention_map_without_the_model(captured):
    model, ids, capture = captured
    for place, (layer, head) in enumerate(KEPT):
        _, _, eager, _ = written_out(model, ids, layer, capture)
        spec = capture.spec()
        row = {"inv_freq": spec.inv_freq[layer], "channels": spec.channels[layer],
               "attention_factor": spec.attention_factor[layer]}  # fmt: skip
        query = rotate(capture["samples/kept_query"][0, place].values.astype(float), np.arange(LENGTH), **row)
        key = rotate(capture["samples/kept_key"][0, place].values.astype(float), np.arange(LENGTH), **row)
        logits = float(capture["rope/logit_scaling"].sel(layer=layer)) * query @ key.T
        np.testing.assert_allclose(logits, eager[head], atol=1e-4 * np.abs(eager).max())


def test_the_maxima_of_kept_heads_are_those_of_the_model_s_logits(captured):
    model, ids, capture = captured
    kept = capture["samples/kept_maximum"]
    edges = [*kept.query_block.values, LENGTH]
    for place, (layer, head) in enumerate(KEPT):
        _, _, eager, window = written_out(model, ids, layer, capture)
        logits = np.where(visible(LENGTH, window, 0, LENGTH), eager[head], np.nan)
        for row, queries in enumerate(pairwise(edges)):
            for column, keys in enumerate(pairwise(edges)):
                block = logits[slice(*queries), slice(*keys)]
                expected = np.nan if np.isnan(block).all() else np.nanmax(block)
                np.testing.assert_allclose(kept[0, place, row, column], expected, rtol=1e-4, atol=1e-5)


def test_the_file_says_how_each_layer_makes_logits(captured):
    model, ids, capture = captured
    called = {}
    with (
        torch.no_grad(),
        tap_attention(model, lambda call: (called.update({call.layer: call}), call.attend())[1]),
    ):
        model(ids)
    for layer, call in called.items():
        rule = {name: capture[f"rope/{name}"].sel(layer=layer).item() for name in ("window", "logit_softcap")}
        assert capture["rope/logit_scaling"].sel(layer=layer).item() == pytest.approx(call.scaling)
        assert rule["window"] == (call.window or -1)
        assert rule["logit_softcap"] == call.softcap or (np.isnan(rule["logit_softcap"]) and not call.softcap)


def test_loss_is_the_model_s_own(captured):
    model, ids, capture = captured
    with torch.no_grad():
        logits = model(ids).logits[0].float()
    slow = torch.nn.functional.cross_entropy(logits[:-1], ids[0, 1:], reduction="none")
    np.testing.assert_allclose(capture["loss/nll"][0, 1:].values, slow, atol=1e-5)
    inside = slice(1, TRAIN_LEN)
    np.testing.assert_allclose(
        capture["loss/nll_windowed"][0, inside].values, slow[: TRAIN_LEN - 1], atol=1e-4
    )


def test_sequences_are_pooled_and_the_training_state_is_kept(tmp_path):
    model, ids = tiny_model("llama").train(), torch.cat([tokens(90, seed) for seed in range(3)])
    path = ropediag.capture_model(
        model, ids, tmp_path / "three.h5", train_len=32, rows=4, heads=(1, 4), layers=(1,)
    )
    assert model.training
    model.eval()
    with ropediag.open_capture(path) as capture:
        assert capture["scores/mean"].layer.values.tolist() == [1]
        assert capture["scores/mean"].query_head.values.tolist() == [1, 4]
        assert capture["scores/replicate_mean"].sizes["replicate"] == 24
        rope = ropediag.capture_model(model, ids[:1], tmp_path / "one.h5", train_len=32, rows=4)
        with ropediag.open_capture(rope) as all_layers:
            contributions = np.stack([written_out(model, ids[s : s + 1], 1, all_layers)[0] for s in range(3)])
        edges = [*capture["scores/mean"].lag.values, 90]
        for bin_, (start, stop) in enumerate(pairwise(edges)):
            inside = contributions[..., visible(90, 90, start, stop)][:, [1, 4]]
            np.testing.assert_allclose(capture["scores/mean"][0, ..., bin_], inside.mean((0, 3)), atol=1e-5)
            np.testing.assert_allclose(capture["scores/std"][0, ..., bin_], inside.std((0, 3)), atol=1e-5)


def test_the_same_capture_twice_is_the_same_file(tmp_path):
    model, ids = tiny_model("llama"), tokens(80)
    for name in ("a.h5", "b.h5"):
        ropediag.capture_model(model, ids, tmp_path / name, train_len=32, rows=4, seed=3)
    with ropediag.open_capture(tmp_path / "a.h5") as a, ropediag.open_capture(tmp_path / "b.h5") as b:
        assert np.array_equal(a["scores/mean"].values, b["scores/mean"].values)
        assert np.array_equal(a["rows/quantile"].values, b["rows/quantile"].values, equal_nan=True)


@pytest.mark.parametrize(("options", "error", "message"), [
    ({"train_len": 32, "layers": (5,)}, CaptureError, "no layer 5"),
    ({"train_len": 32, "heads": (9,)}, CaptureError, "no head 9"),
    ({"train_len": 32, "keep_qk": ((0, 9),)}, ConfigError, "layer 0, head 9"),
    ({"train_len": 32, "rows": 0}, ConfigError, "rows must be at least 1"),
])  # fmt: skip
def test_what_cannot_be_captured_is_said_in_one_line(tmp_path, options, error, message):
    with pytest.raises(error, match=message) as raised:
        ropediag.capture_model(tiny_model("llama"), tokens(60), tmp_path / "x.h5", **options)
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_a_length_that_nothing_states_is_asked_for_and_one_of_the_config_is_an_assumption(tmp_path):
    model, ids, path = tiny_model("llama"), tokens(60), tmp_path / "x.h5"
    model.config.max_position_embeddings = 0  # its class takes no None
    with pytest.raises(ConfigError, match="training length is not known: no --train-len, no --phase"):
        ropediag.capture_model(model, ids, path)
    assert not list(tmp_path.iterdir())
    model.config.max_position_embeddings = 40
    with ropediag.open_capture(ropediag.capture_model(model, ids, path, rows=4)) as capture:
        assert capture.attrs["train_len"] == 40
        assert capture["training/source"].values.tolist() == ["max_position_embeddings, an assumption"]


def test_nan_is_named_with_the_layer_where_it_comes_in_first(tmp_path):
    model = tiny_model("llama")
    model.model.layers[1].self_attn.v_proj.register_forward_hook(
        lambda *_: torch.full((1, 60, 16), torch.nan)
    )
    with pytest.raises(CaptureError, match="layer 1: its attention output is the first that is NaN"):
        ropediag.capture_model(model, tokens(60), tmp_path / "x.h5", train_len=32)
    model = tiny_model("llama")
    model.model.layers[1].mlp.up_proj.weight.data[3, 3] = torch.inf
    with pytest.raises(
        ModelError, match=r"not finite: NaN or infinity first in model.layers.1.mlp.up_proj.weight"
    ):
        ropediag.capture_model(model, tokens(60), tmp_path / "x.h5", train_len=32)
    assert not list(tmp_path.iterdir())

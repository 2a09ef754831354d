"""Attributions as users make them: sums, nothing to split, what resumes, what is refused."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import roots_legendre

from ropediag.analysis.attribution import list_top, measure_attribution, word_attribution
from ropediag.attribution import AttributeConfig, attribute_checkpoint, attribute_model
from ropediag.attribution.gates import GatedLayer
from ropediag.attribution.passes import GatedModel
from ropediag.attribution.points import PointStore, describe_kept
from ropediag.errors import CaptureError, ConfigError, FormatError
from ropediag.intervene import AblateConfig, ablate_checkpoint
from ropediag.intervene.intervention import Intervention
from ropediag.intervene.selection import find_targets
from ropediag.models.rotation import measure_rotation
from ropediag.schema import lag_edges
from ropediag.store import open_capture
from ropediag.testing.tiny import random_tokens
from ropediag.testing.tiny import tiny_model as tiny_of_type
from ropediag.theory.phases import PhaseSpec
from tests.families import tiny_model, tokens

PHASES = (PhaseSpec(12, 1e4),)


@pytest.fixture(scope="module")
def found():
    """The bundled model at twice its training length."""
    return attribute_checkpoint(AttributeConfig("demo", 256, sequences=2, stretches=2, seed=1))


def test_the_parts_add_up_to_the_measured_difference(found):
    """The loss at limited lags is that of another routine, which ablations use."""
    clip = ablate_checkpoint(AblateConfig("demo", 256, sequences=2, random=0, seed=1))
    past = slice(128, None)
    difference = clip.nll[:, past].mean() - clip.nll_changed[0, :, past].mean()
    assert difference > 0.5
    assert float(found.table.difference) == pytest.approx(difference, rel=1e-4)
    assert float(found.table.total) == pytest.approx(difference, rel=0.02)
    assert float(found.table.missed) == pytest.approx(float(found.table.total) - difference, abs=1e-3)


def test_all_ways_to_add_up_agree(found):
    table, raw = found.table, np.stack([part.nats for part in found.parts])
    assert raw.shape[1] == 2
    parts = np.nansum(raw.mean(1), axis=(1, 2, 3))  # both stretches are equally long
    assert float(table.total) == pytest.approx(parts.mean(), rel=1e-9)
    for name in ("cost", "by_head", "by_layer", "by_pair", "by_lag"):
        assert float(table[name].sum()) == pytest.approx(parts.mean(), rel=1e-5)
    half = 12.706204736432095 * parts.std(ddof=1) / 2**0.5  # Student's t of 1 degree of freedom
    assert float(table.total_high - table.total) == pytest.approx(half, rel=1e-6)
    assert float(table.excess) == pytest.approx(float(table.difference + table.other), rel=1e-6)
    assert (table.by_lag.sel(lag=slice(0, 100)) == 0).all()


def test_a_model_in_memory_gives_the_integral_of_single_points():
    """Gauss-Legendre with 64 points, one pass after the other."""
    model, ids = tiny_model("llama"), torch.cat([tokens(40), tokens(40, seed=1)])
    found = attribute_model(model, ids, phases=PHASES, tolerance=1e-6)
    rotation = measure_rotation(model, np.array([39]))
    targets = find_targets(Intervention("clip", limits=found.gates.limits(0.85)), rotation)
    layers = {layer: GatedLayer(each, "clip", 40, lag_edges(40)) for layer, each in targets.items()}
    gated = GatedModel(model, targets, layers, 40, 12)
    slow = [0.0] * len(layers)
    nodes, weights = roots_legendre(64)
    with gated.ready():
        for node, weight in zip(nodes, weights, strict=True):
            for row in ids:
                gradient = gated.run(row, (node + 1) / 2, [range(12, 40)]).gradients[0]
                for place, layer in enumerate(sorted(layers)):
                    slow[place] = slow[place] + weight / 4 * gradient[layer].by_lag.sum(-1).numpy()
    slow = np.stack(slow)
    np.testing.assert_allclose(found.table.cost, slow, atol=1e-3 * np.abs(slow).max())


def test_angles_that_training_showed_cost_nothing():
    """The bundled model within its 128 tokens, 64 stated falsely: nothing is broken."""
    false = (PhaseSpec(64, 1e4),)
    found = attribute_checkpoint(AttributeConfig("demo", 128, phases=false, sequences=8))
    assert float(found.table.total_low) < 0 < float(found.table.total_high) + 0.01
    assert abs(float(found.table.total)) < 0.03
    assert word_attribution(found.table)[0].startswith("Unseen angles cost nothing")


def test_frequencies_that_depend_on_the_length_cannot_be_timed_on_a_shorter_one():
    rule = {"rope_type": "dynamic", "factor": 1.5, "rope_theta": 1e4}
    model, said = tiny_of_type("llama", rope_parameters=rule, max_position_embeddings=256), []
    found = attribute_model(model, random_tokens(600), phases=PHASES, points=3, say=said.append)
    assert "points takes" not in said[0]
    assert "1 sequence, about" in said[0]
    assert np.isfinite(found.table.cost).any()


def test_a_length_without_unseen_angles_gives_nothing(tmp_path):
    config = AttributeConfig("demo", 128, out=tmp_path / "a.h5")
    assert attribute_checkpoint(config) is None
    assert not list(tmp_path.iterdir())


def test_the_file_holds_what_was_found(tmp_path, found):
    path = found.write(tmp_path / "a.h5")
    with open_capture(path) as file:
        assert json.loads(file.attrs["figures"]) == json.loads(json.dumps(found.figures()))
        table = measure_attribution(file)
        for name in found.table.data_vars:
            np.testing.assert_allclose(table[name], found.table[name], rtol=1e-5, atol=1e-7)
    assert list_top(table)[0] | {"nats": 0, "low": 0, "high": 0} == {
        "layer": 1, "query_head": 1, "pair": 14, "nats": 0, "low": 0, "high": 0
    }  # fmt: skip


def test_other_files_are_no_attribution(tmp_path):
    ablate_checkpoint(AblateConfig("demo", 256, sequences=1, random=0, out=tmp_path / "x.h5"))
    with open_capture(tmp_path / "x.h5") as file, pytest.raises(ConfigError, match="is not an attribution"):
        measure_attribution(file)


CODE = """
import sys
from ropediag.attribution import AttributeConfig, attribute_checkpoint
attribute_checkpoint(AttributeConfig("demo", 200, sequences=1, points=5, out=sys.argv[1]), print)
"""


def test_what_was_measured_survives_a_kill(tmp_path):
    out = tmp_path / "a.h5"
    folder = tmp_path / "a.h5.points"
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, str(out)], stdout=subprocess.DEVNULL, env={**os.environ}
    )
    while process.poll() is None and len(list(folder.glob("point-*.npz"))) < 2:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {path: path.stat().st_mtime_ns for path in folder.glob("point-*.npz")}
    assert len(kept) >= 2
    config = AttributeConfig("demo", 200, sequences=1, points=5, out=out)
    with pytest.raises(CaptureError, match="resume"):
        attribute_checkpoint(config)
    with pytest.raises(CaptureError, match="other settings"):
        attribute_checkpoint(replace(config, seed=5, resume=True))
    read = []
    original = np.load
    try:
        np.load = lambda path, **options: read.append(path) or original(path, **options)
        resumed = attribute_checkpoint(replace(config, resume=True))
    finally:
        np.load = original
    assert set(kept) <= set(read)
    assert out.exists()
    assert not folder.exists()
    fresh = attribute_checkpoint(replace(config, out=None))
    np.testing.assert_array_equal(resumed.table.cost, fresh.table.cost)


def test_what_is_kept_is_told(tmp_path):
    assert "with --out" in describe_kept(None)
    (tmp_path / "a.h5.points").mkdir()
    (tmp_path / "a.h5.points" / "point-00-0000.npz").touch()
    assert f"{tmp_path / 'a.h5.points'} keeps 1 points" in describe_kept(tmp_path / "a.h5")


def test_a_damaged_point_is_named(tmp_path):
    config = AttributeConfig("demo", 256, sequences=1, out=tmp_path / "a.h5")
    store = PointStore(config, "w", "t")
    (tmp_path / "a.h5.points").mkdir()
    (tmp_path / "a.h5.points" / "point-00-0000.npz").write_bytes(b"nothing")
    with pytest.raises(FormatError, match=r"point-00-0000\.npz"):
        store.get(0, 0)


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"kind": "freeze"}, "kind must be"),
        ({"at": 0.0}, "at takes"),
        ({"layers": ()}, "layers must name"),
        ({"positions": (9, 9)}, "positions must rise"),
        ({"positions": (9, 300)}, "positions must rise"),
        ({"stretches": 0}, "stretches must be at least 1"),
        ({"points": 2}, "points must be at least 3"),
        ({"tolerance": 0.0}, "tolerance must be"),
        ({"resume": True}, "resume goes on with a file"),
        ({"resume": True, "force": True, "out": "x.h5"}, "not both"),
    ],
)
def test_bad_settings_are_refused(options, fault):
    with pytest.raises(ConfigError, match=fault):
        AttributeConfig("demo", 256, **options)


@pytest.mark.parametrize("options", [{"layers": (99,)}, {"heads": (99,)}])
def test_what_the_model_lacks_is_refused(options):
    with pytest.raises((ConfigError, CaptureError), match=r"no (layer|head) 99"):
        attribute_checkpoint(AttributeConfig("demo", 256, **options))


def test_too_many_stretches_are_refused():
    config = AttributeConfig("demo", 256, positions=(200, 210), stretches=11)
    with pytest.raises(ConfigError, match="cannot be cut"):
        attribute_checkpoint(config)


def test_too_little_memory_names_the_least_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("ropediag.attribution.estimate.available_memory", lambda device: 2**20)
    with pytest.raises(ConfigError, match=r"at least 0\.\d GiB"):
        attribute_checkpoint(AttributeConfig("demo", 256, sequences=1, out=tmp_path / "a.h5"))
    assert not list(tmp_path.iterdir())


def test_a_loss_that_is_nan_names_position_and_sequence():
    model = tiny_model("llama")
    with torch.no_grad():
        model.lm_head.weight[5] *= 1e38
    with pytest.raises(CaptureError, match=r"NaN at position \d+ of sequence 0"):
        attribute_model(model, tokens(40), phases=PHASES)

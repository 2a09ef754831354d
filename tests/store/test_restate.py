"""The phases of a finished capture are replaced, and all that follows from them; or the file is unchanged."""

import shutil

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from ropediag.analysis.drift import measure_drift
from ropediag.cli import build_app
from ropediag.errors import CaptureError, ConfigError, FormatError
from ropediag.rope import inv_freq
from ropediag.store import open_capture
from ropediag.store.restate import set_training
from ropediag.theory.phases import ALL, OWN, PhaseSpec
from tests.analysis.captures import EXAMPLE
from tests.analysis.ragged import write_ragged

PHASES = (PhaseSpec(128, label="pretraining"), PhaseSpec(300, 50_000.0, label="tuning"))


@pytest.fixture
def copy(tmp_path):
    return shutil.copy(EXAMPLE, tmp_path / "copy.h5")


def test_the_phases_are_replaced_and_nothing_else(copy):
    with open_capture(EXAMPLE) as capture:
        before = {name: capture.values(name) for name in capture.variables}
        named = dict(capture.attrs)
    with set_training(copy, PHASES) as capture:
        phases = capture.training.phases
        assert [(phase.label, phase.length) for phase in phases] == [("pretraining", 128), ("tuning", 300)]
        np.testing.assert_array_equal(phases[1].inv_freq, np.tile(inv_freq(64, 50_000.0), (4, 1)))
        for name, values in before.items():
            np.testing.assert_array_equal(capture.values(name), values)
        changed = {name for name in named if capture.attrs[name] != named[name]}
        assert changed == {"schema_version", "tune_len"}
        assert (capture.attrs["train_len"], capture.attrs["tune_len"]) == (128, 300)
        assert "training" in capture.groups


def test_what_rests_on_the_phases_follows_and_what_was_measured_under_others_is_marked(copy):
    with open_capture(copy) as capture:
        assert capture.stale == ()
    with set_training(copy, [PhaseSpec(300)]) as capture:
        assert capture.critical_pair.values.tolist() == [14] * 4
        assert (capture.training.first_reach(), capture.training.predicted_limit().value) == (300, 300)
        drift = measure_drift(capture)
        assert np.isnan(drift.drift[..., :14]).all()
        assert capture.stale == ("partial", "loss/nll_windowed")
        assert capture.window_len == 128  # as it was measured
        assert capture.values("rope/critical_pair").tolist() == [11] * 4
    with set_training(copy, [PhaseSpec(128)]) as capture:
        assert capture.stale == ()


def test_the_rotation_of_the_model_and_no_window_may_be_named(copy):
    scaled = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}
    with set_training(copy, [PhaseSpec(128, rule=OWN), PhaseSpec(512, rule=scaled, window=ALL)]) as capture:
        first, second = capture.training.phases
        np.testing.assert_array_equal(first.inv_freq, capture.values("rope/inv_freq"))
        assert second.inv_freq[0, -1] == pytest.approx(inv_freq(64, 1e4)[-1] / 4)
        assert (second.window == -1).all()


def test_a_ragged_capture_keeps_its_layers(tmp_path):
    path = write_ragged(tmp_path / "ragged.h5", finished=True)
    with set_training(path, [PhaseSpec(20)]) as capture:
        inside = np.isfinite(capture.values("rope/inv_freq"))
        np.testing.assert_array_equal(np.isfinite(capture.training.phases[0].inv_freq), inside)
        assert capture.training.critical_pair()[2] == -1


def test_an_unfinished_damaged_or_foreign_file_is_refused_and_stays_as_it_was(tmp_path, copy):
    partial = write_ragged(tmp_path / "run.h5")
    with pytest.raises(CaptureError, match=r"not finished.*--resume"):
        set_training(partial, PHASES)
    damaged = bytearray(copy.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    copy.write_bytes(damaged)
    with pytest.raises(FormatError, match="damaged"):
        set_training(copy, PHASES)
    assert copy.read_bytes() == damaged
    ablation = shutil.copy(EXAMPLE.parent / "example-ablation-clip-past.h5", tmp_path / "ablation.h5")
    with pytest.raises(ConfigError, match="holds an ablation"):
        set_training(ablation, PHASES)


def test_a_file_that_cannot_be_written_stays_as_it_was(copy, monkeypatch):
    content = copy.read_bytes()

    def refuse(path, image):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("ropediag.store.restate.publish_alone", refuse)
    with pytest.raises(CaptureError, match="Permission denied"):
        set_training(copy, PHASES)
    with pytest.raises(ConfigError, match="the list of training phases is empty"):
        set_training(copy, [])
    assert copy.read_bytes() == content


def test_netcdf_readers_see_the_new_phases_labelled(copy):
    set_training(copy, PHASES).close()
    with h5py.File(copy) as file:
        assert file["training/inv_freq"].dims[0][0].name.endswith("phase")
        assert file["training/sequence_len"].attrs["units"] == "tokens"


def test_the_command_says_what_follows_and_what_is_stale(copy):
    done = CliRunner().invoke(build_app(), ["set-training", str(copy), "--phase", "len=300,label=longer"])
    assert done.exit_code == 0, done.output
    said = " ".join(done.output.split())
    assert "longer: 300 tokens (from --phase)" in said
    assert "predicted limit: 300 tokens" in said
    assert "first reach: 300 tokens, a lower bound" in said
    assert "stale: the joint logits are split at the pair" in said
    none = CliRunner().invoke(build_app(), ["set-training", str(copy)])
    assert isinstance(none.exception, ConfigError)

"""Angle errors: float32's own at known lengths, a model's beside it, and those of rounded frequencies."""

import re
import sys

import numpy as np
import pytest
import torch
from rich.console import Console

from ropediag import capture_model, open_capture
from ropediag.analysis.angle_error import find_float32_error, measure_angle_error
from ropediag.analysis.angle_note import note_angle_error
from ropediag.analysis.verdict import judge_capture
from ropediag.cli import main
from ropediag.cli._terminal import print_glance
from ropediag.models.rotation import frequency_tables
from ropediag.rope import inv_freq
from ropediag.testing.tiny import random_tokens, tiny_model
from tests.analysis.captures import EXAMPLE
from tests.vector_instructions import computes_bfloat16


@pytest.mark.parametrize(
    ("length", "worst"), [(4096, 0.00024), (65_536, 0.0039), (131_072, 0.0078), (1_048_576, 0.062)]
)
def test_float32_s_worst_error_over_all_positions_of_llama2(length, worst):
    """Recomputed values; every time it is pair 1, since pair 0 turns by whole radians."""
    largest = np.zeros(64)
    for start in range(0, length, 2**16):
        positions = np.arange(start, min(start + 2**16, length))
        np.maximum(largest, find_float32_error(inv_freq(128, 1e4)[:3], positions).max(-1).max(), out=largest)
    pairs = find_float32_error(inv_freq(128, 1e4), np.arange(length - 4096, length)).max(-1)
    assert largest[0] == pytest.approx(worst, rel=0.03)
    assert pairs.argmax() == 1
    assert pairs[0] == 0


def test_the_bundled_model_errs_as_float32_does():
    with open_capture(EXAMPLE) as capture:
        found = measure_angle_error(capture).load()
        stored = capture.values("vectors/angle_error")
    assert float(found.worst.sel(layer=1, pair=3)) == abs(stored[1, 3]).max()
    assert float(found["mean"].sel(layer=1, pair=3)) == pytest.approx(abs(stored[1, 3]).mean())
    assert float(found.worst.max()) < 3e-4 + 3 * float(found.worst_float32.max())


def largest_error(model, length, folder):
    options = {"train_len": 128, "rows": 4, "name": "cast", "excess": False, "force": True}
    path = capture_model(model, random_tokens(length), folder / "cast.h5", **options)
    with open_capture(path) as capture:
        return path, np.nanmax(np.abs(capture.values("vectors/angle_error"))), note_angle_error(capture)


def scaled_model():
    yarn = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 128}
    return tiny_model("llama", head_dim=32, rope_parameters=yarn, max_position_embeddings=512)


@pytest.mark.parametrize(
    ("dtype", "off"), [pytest.param("bfloat16", 0.380, marks=computes_bfloat16), ("float16", 0.216)]
)
def test_a_model_cast_as_a_whole_is_off_by_the_rounding_of_its_frequencies(dtype, off, tmp_path):
    model = scaled_model()
    _, right, note = largest_error(model, 2048, tmp_path)
    assert right < 1e-3
    assert note is None
    [(true, _)] = frequency_tables(model)
    [(rounded, _)] = frequency_tables(model.to(getattr(torch, dtype)))
    assert np.abs(rounded - true).max() * 2047 == pytest.approx(off, abs=0.001)
    _, found, note = largest_error(model, 2048, tmp_path)
    assert found == pytest.approx(off, abs=0.02)  # beside it the rounding of cosines
    assert 0.4 * found < largest_error(model, 1024, tmp_path)[1] < 0.6 * found


@computes_bfloat16
def test_the_output_of_a_capture_info_and_the_verdict_note_rounded_frequencies(tmp_path, capsys, monkeypatch):
    path, _, note = largest_error(scaled_model().bfloat16(), 2048, tmp_path)
    assert re.search(r"off by up to 0\.3\d rad \(layer \d, pair \d+, position 2,047\)", note)
    print_glance(Console(soft_wrap=True, width=1000), path)
    assert note in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["ropediag", "info", str(path)])
    with pytest.raises(SystemExit):
        main()
    assert note in capsys.readouterr().out
    with open_capture(path) as capture:
        assert note in judge_capture(capture).weak


def test_a_layer_whose_config_cannot_tell_its_frequencies_is_compared_with_itself(tmp_path):
    model = tiny_model("llama")
    model.config.rope_parameters["rope_theta"] = 5e5  # not what the model was built with
    assert largest_error(model, 2048, tmp_path)[1] < 1e-3

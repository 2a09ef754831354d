"""One predicted limit and one first reach, whoever is asked: ten kinds of training, all their readers."""

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from ropediag.analysis.breakdown import measure_breakdown
from ropediag.analysis.glance import glance
from ropediag.analysis.limit_table import tabulate_limits
from ropediag.analysis.verdict import judge_capture
from ropediag.capture import capture_checkpoint
from ropediag.cli import build_app
from ropediag.config import CaptureConfig
from ropediag.evaluate import EvaluateConfig, evaluate_checkpoint
from ropediag.prediction import predict
from ropediag.rope import inv_freq
from ropediag.scaling import ntk_base
from ropediag.store import open_capture
from ropediag.theory.phases import read_phases
from ropediag.tune.limit_callback import LimitCallback
from tests.families import tiny_model

PAIRS, LENGTH = 8, 300  # rotary pairs of the tiny model, tokens that are read
BASE, TRAINED = 1e4, 64


@dataclass(frozen=True)
class Kind:
    """A config, what ropediag.json says of its training, and the two numbers worked out by hand."""

    config: dict[str, Any]
    phases: list[dict[str, Any]]
    predicted: float | None
    first_reach: float | None
    family: str = "llama"
    assumes_tuning: bool = False
    options: dict[str, Any] = field(default_factory=dict)


def plain(base=BASE):
    return {"rope_type": "default", "rope_theta": base}


def period(pair, base):
    return 2 * np.pi * base ** (2 * pair / (2 * PAIRS))


def stretched(pair, base):
    return TRAINED * (base / BASE) ** (2 * pair / (2 * PAIRS))


CRITICAL = 3  # 2 pi 10,000 ** (2 * 3 / 16) is the first period above 64
PRETRAINING = [{"length": TRAINED, "base": BASE, "label": "pretraining"}]
RULE = {"factor": 4.0, "original_max_position_embeddings": TRAINED}
FACTORS = {"short_factor": [1.0] * PAIRS, "long_factor": [1.0, 1.5, 2.0, 3.0, 4.0, 4.0, 4.0, 4.0]}
LOCAL = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 24}
KINDS = {
    "plain": Kind(plain(), PRETRAINING, TRAINED, TRAINED),
    "tuned": Kind(
        plain(1e6),
        [*PRETRAINING, {"length": TRAINED, "base": 1e6, "label": "tuning"}],
        period(CRITICAL, 1e6),
        stretched(CRITICAL, 1e6),
    ),
    "smaller base": Kind(
        plain(500.0), [*PRETRAINING, {"length": TRAINED, "base": 500.0}], None, TRAINED
    ),
    "linear": Kind(
        {"rope_type": "linear", "rope_theta": BASE, "factor": 4.0}, PRETRAINING, 256, 256, assumes_tuning=True
    ),
    "ntk": Kind(
        plain(ntk_base(2 * PAIRS, BASE, 4.0)),
        PRETRAINING,
        period(CRITICAL, ntk_base(2 * PAIRS, BASE, 4.0)),
        stretched(CRITICAL, ntk_base(2 * PAIRS, BASE, 4.0)),
        assumes_tuning=True,
    ),
    "yarn": Kind(
        {"rope_type": "yarn", "rope_theta": BASE, **RULE}, PRETRAINING, 256, 256, assumes_tuning=True
    ),
    "llama3": Kind(
        {"rope_type": "llama3", "rope_theta": BASE, "low_freq_factor": 1.0, "high_freq_factor": 4.0, **RULE},
        PRETRAINING,
        256,
        256,
        assumes_tuning=True,
    ),
    "longrope": Kind(
        {"rope_type": "longrope", "rope_theta": BASE, "original_max_position_embeddings": TRAINED, **FACTORS},
        [*PRETRAINING, {"length": 250, "rule": "own", "label": "long factors"}],
        250,
        250,
    ),
    "windowed": Kind(
        plain(), PRETRAINING, None, None, family="mistral", options={"sliding_window": 24}
    ),
    "local and global bases": Kind(
        {"sliding_attention": plain(BASE), "full_attention": plain(1e6)},
        [{"length": TRAINED, "base": 1e6, "label": "pretraining"}],
        TRAINED,
        TRAINED,
        family="gemma3_text",
        options=LOCAL,
    ),
}  # fmt: skip


@pytest.fixture(scope="module", params=KINDS)
def asked(request, tmp_path_factory):
    """A kind of training, and what each reader of it says: name -> (predicted limit, first reach)."""
    kind, folder = KINDS[request.param], tmp_path_factory.mktemp("model")
    model = tiny_model(
        kind.family,
        vocab_size=64,
        num_hidden_layers=2,
        head_dim=2 * PAIRS,
        max_position_embeddings=LENGTH,
        rope_parameters=kind.config,
        **kind.options,
    )
    model.save_pretrained(folder / "model")
    (folder / "model" / "ropediag.json").write_text(json.dumps({"phases": kind.phases}))
    np.save(folder / "ids.npy", np.random.default_rng(0).integers(3, 64, LENGTH))
    shared = {"model": str(folder / "model"), "length": LENGTH, "tokens": folder / "ids.npy"}
    prediction = predict(folder / "model", target_len=LENGTH, retrieval=False)
    said = {"predict": (prediction.predicted_limit, prediction.first_reach)}
    path = capture_checkpoint(CaptureConfig(**shared, out=folder / "capture.h5", rows=4))
    with open_capture(path) as capture:
        seen, verdict = glance(capture), judge_capture(capture)
        said["capture"] = seen.predicted_limit, seen.first_reach
        said["analyze"] = verdict.predicted_limit, verdict.first_reach
        row = tabulate_limits({"a": verdict}, {"a": capture.spec()}).isel(capture=0)
        said["compare, dashboard, report"] = float(row.predicted), float(row.first_reach)
        marks = measure_breakdown(capture)
        said["figure"] = float(marks.predicted_limit), float(marks.first_reach)
        assert capture.training.predicted_limit().assumes_tuning == kind.assumes_tuning
    figures = json.loads(CliRunner().invoke(build_app(), ["analyze", str(path), "--json"]).output)
    said["analyze --json"] = figures["predicted_limit"], figures["first_reach"]
    found = evaluate_checkpoint(EvaluateConfig(**shared, trials=0)).figures()["limit"]
    said["evaluate"] = found["predicted"], found["first_reach"]
    assert prediction.assumes_tuning == kind.assumes_tuning
    return kind, said, model


def test_every_reader_gives_the_two_numbers_worked_out_by_hand(asked):
    kind, said, _ = asked
    for name, numbers in said.items():
        for number, expected in zip(numbers, (kind.predicted, kind.first_reach), strict=True):
            number = None if number is None or np.isnan(number) else number
            assert number == (None if expected is None else pytest.approx(expected, rel=1e-6)), name


def test_the_log_of_a_trainer_gives_them_too(asked):
    kind, said, model = asked
    callback = LimitCallback(np.zeros((1, LENGTH), dtype=int), phases=read_phases(kind.phases, "a test"))
    training = callback.training(model)
    assert (callback.predict(model), training.first_reach()) == said["predict"]
    assert training.predicted_limit().assumes_tuning == kind.assumes_tuning


def test_the_critical_pair_of_the_kinds_is_what_their_numbers_rest_on():
    periods = 2 * np.pi / inv_freq(2 * PAIRS, BASE)
    assert int(np.argmax(periods > TRAINED)) == CRITICAL

"""The limit in any Trainer's log: the figures are those of the analysis, and training is not disturbed."""

import numpy as np
import pytest
import torch
from tokenizers import processors
from transformers import Trainer, TrainerCallback, TrainingArguments

from ropediag import LimitCallback
from ropediag.analysis.limit import measure_limit
from ropediag.assets import demo_model
from ropediag.errors import ConfigError
from ropediag.limits import extrapolation_limit
from ropediag.models.load import load_model
from ropediag.models.loss import decode, nll_by_position, nll_windowed
from ropediag.rope import inv_freq
from ropediag.scaling import yarn_inv_freq
from ropediag.testing.tiny import tiny_model
from ropediag.text import read_token_sequences
from ropediag.theory.phases import PhaseSpec
from ropediag.tune.tokenizer import byte_tokenizer
from ropediag.tune.windows import TrainingWindows
from tests.tune.board import read_scalars


@pytest.fixture(scope="module")
def ids():
    return read_token_sequences(None, byte_tokenizer(), 320, 4, 0)


def train(folder, ids, *callbacks, added=(), report_to="none"):
    model = load_model(str(demo_model()), device="cpu").model
    text = np.frombuffer(b"x = 1\n" * 100, dtype=np.uint8)
    arguments = TrainingArguments(
        output_dir=str(folder), max_steps=4, per_device_train_batch_size=2, logging_steps=100, use_cpu=True,
        report_to=report_to, save_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=TrainingWindows(text, 64, 8, 0.0, 0),
        callbacks=[*callbacks],
    )
    for callback in added:
        trainer.add_callback(callback)
    trainer.train()
    return trainer


class Recorder(TrainerCallback):
    """Keeps what a reporter sees, at the moment at which it is told."""

    def __init__(self):
        self.seen, self.begun = [], 0

    def on_train_begin(self, args, state, control, **kwargs):
        self.begun += 1

    def on_log(self, args, state, control, logs=None, **kwargs):
        self.seen.append((state.global_step, dict(logs)))


def test_it_logs_the_measured_limit_beside_the_predicted_one(tmp_path, ids):
    trainer = train(tmp_path, ids, LimitCallback(ids, train_len=128, every=2))
    logged = [entry for entry in trainer.state.log_history if "excess_at_end" in entry]
    assert [entry["step"] for entry in logged] == [2, 4]
    assert {(entry["limit_predicted"], entry["limit_first_reach"]) for entry in logged} == {(128.0, 128.0)}
    excess = []
    for row in torch.from_numpy(ids):
        full = nll_by_position(trainer.model.eval(), row[None], decode(trainer.model, row[None]))[0]
        excess.append(full - nll_windowed(trainer.model, row, 128))
    curves = np.stack(excess)
    assert logged[-1]["limit_measured"] == measure_limit(curves, 128).position
    assert logged[-1]["excess_at_end"] == pytest.approx(float(curves[:, 240:].mean()), rel=1e-5)


@pytest.mark.parametrize("added", [False, True])
def test_reporters_that_stand_before_it_see_the_limit(tmp_path, ids, added):
    """A Trainer calls what ``report_to`` names before the callbacks of the user."""
    reporter, after, limit = Recorder(), Recorder(), LimitCallback(ids, train_len=128, every=2)
    given = (reporter,) if added else (reporter, limit, after)
    train(tmp_path, ids, *given, added=(limit, after) if added else ())
    for recorder in (reporter, after):
        limits = [(step, logs["limit_predicted"]) for step, logs in recorder.seen if "excess_at_end" in logs]
        assert limits == [(2, 128.0), (4, 128.0)]
        assert recorder.begun == 1, "moving the callback calls none twice and skips none"


def test_a_tensorboard_file_holds_the_limit(tmp_path, ids, monkeypatch):
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "board"))
    trainer = train(tmp_path, ids, LimitCallback(ids, train_len=128, every=2), report_to=["tensorboard"])
    scalars = read_scalars(tmp_path / "board")
    logged = {entry["step"]: entry for entry in trainer.state.log_history if "excess_at_end" in entry}
    for name in ("limit_measured", "limit_predicted", "limit_first_reach", "excess_at_end"):
        found = {step: value for tag, step, value in scalars if tag == f"train/{name}"}
        assert found == {step: pytest.approx(entry[name]) for step, entry in logged.items()}


def test_the_trainers_tokenizer_says_which_token_begins_each_window(tmp_path, ids, monkeypatch):
    begun = np.hstack([np.full((4, 1), 7), ids[:, :-1]])
    tokenizer = byte_tokenizer()
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{tokenizer.convert_ids_to_tokens(7)} $A",
        special_tokens=[(tokenizer.convert_ids_to_tokens(7), 7)],
    )
    model = load_model(str(demo_model()), device="cpu").model
    callback = LimitCallback(begun, train_len=128)
    callback.on_train_begin(None, None, None, processing_class=tokenizer)
    found = callback.measure(model)["excess_at_end"]
    full = nll_by_position(model, torch.from_numpy(begun), decode(model, torch.from_numpy(begun)))
    windowed = np.stack([nll_windowed(model, row, 128, leading=1) for row in torch.from_numpy(begun)])
    assert found == pytest.approx(float((full - windowed)[:, 240:].mean()), rel=1e-4)


def test_it_leaves_the_weights_as_they_would_be_without_it(tmp_path, ids):
    plain = train(tmp_path / "a", ids).model.state_dict()
    watched = train(tmp_path / "b", ids, LimitCallback(ids, train_len=128, every=1)).model.state_dict()
    assert all(torch.equal(plain[name], watched[name]) for name in plain)


def test_the_excess_is_over_windows_of_the_longest_phase(ids):
    model = load_model(str(demo_model()), device="cpu").model
    phases = (PhaseSpec(256, 100.0), PhaseSpec(128))
    for callback in (LimitCallback(ids, phases=phases), LimitCallback(ids, train_len=128, tune_len=256)):
        found = callback.measure(model)["excess_at_end"]
        rows = torch.from_numpy(ids)
        full = nll_by_position(model, rows, decode(model, rows))
        windowed = np.stack([nll_windowed(model, row, 256) for row in rows])
        assert found == pytest.approx(float((full - windowed)[:, 240:].mean()), rel=1e-4)


def test_it_takes_all_phases_of_a_model_tuned_twice(ids):
    """Twice YaRN 4 on a larger base: each pair's reach, worked out pair by pair."""
    model = load_model(str(demo_model()), device="cpu").model
    rule = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}
    model.config.rope_parameters = {**rule, "rope_theta": 160_000.0}
    phases = (PhaseSpec(128, 1e4), PhaseSpec(128, 160_000.0), PhaseSpec(200, 160_000.0, rule))
    training = LimitCallback(ids, phases=phases).training(model)
    now = yarn_inv_freq(64, 160_000.0, 4.0, 128)
    angles = np.maximum(inv_freq(64, 1e4) * 128, now * 200)
    reaches = (angles / now)[angles < 2 * np.pi]
    assert training.first_reach() == pytest.approx(reaches.min())
    assert LimitCallback(ids, phases=phases).predict(model) == pytest.approx(reaches.min())
    assert training.first_reach() > LimitCallback(ids, phases=phases[1:]).training(model).first_reach() + 1


def test_what_the_config_states_is_taken_where_nothing_else_is(ids):
    model = load_model(str(demo_model()), device="cpu").model
    assert LimitCallback(ids).predict(model) == model.config.max_position_embeddings == 128
    short = LimitCallback(ids[:, :100])
    with pytest.raises(
        ConfigError, match="sequences of 100 tokens cannot show a limit past the longest phase"
    ):
        short.on_train_begin(None, None, None, model=model)
    with pytest.raises(ConfigError, match="the longest phase of training, 128 tokens"):
        short.measure(model)


def test_it_predicts_with_the_base_of_pretraining_and_the_length_of_tuning(ids):
    model = load_model(str(demo_model()), device="cpu").model
    callback = LimitCallback(ids, train_len=128, pretrain_base=100.0, tune_len=256)
    assert callback.predict(model) == extrapolation_limit(64, 10_000.0, 100.0, 128, 256)
    model.train()
    callback.measure(model)
    assert model.training


def test_it_predicts_with_the_base_of_the_layers_that_see_furthest(ids):
    model = tiny_model("gemma3_text")
    bases = model.config.rope_parameters
    assert bases["sliding_attention"]["rope_theta"] == 1e4 < bases["full_attention"]["rope_theta"] == 1e6
    predicted = LimitCallback(ids, train_len=128, pretrain_base=1e4).predict(model)
    assert predicted == extrapolation_limit(16, 1e6, 1e4, 128)


def test_sequences_that_end_within_the_training_length_are_refused(ids):
    for given in ({"train_len": 320}, {"train_len": 128, "tune_len": 320}, {"phases": (PhaseSpec(320),)}):
        with pytest.raises(ConfigError, match="past the longest phase of training, 320 tokens: pass longer"):
            LimitCallback(ids, **given)


def test_phases_and_numbers_exclude_each_other(ids):
    with pytest.raises(ConfigError, match="states the whole training: leave out --train-len"):
        LimitCallback(ids, train_len=128, phases=(PhaseSpec(128),))

"""The limit in any Trainer's log: the figures are those of the analysis, and training is not disturbed."""

import numpy as np
import pytest
import torch
from transformers import Trainer, TrainingArguments

from ropediag import LimitCallback
from ropediag.analysis.limit import measure_limit
from ropediag.assets import demo_model
from ropediag.errors import ConfigError
from ropediag.limits import extrapolation_limit
from ropediag.models.load import load_model
from ropediag.models.loss import decode, nll_by_position, nll_windowed
from ropediag.testing.tiny import tiny_model
from ropediag.text import read_token_sequences
from ropediag.tune.tokenizer import byte_tokenizer
from ropediag.tune.windows import TrainingWindows


@pytest.fixture(scope="module")
def ids():
    return read_token_sequences(None, byte_tokenizer(), 320, 4, 0)


def train(folder, ids, *callbacks):
    model = load_model(str(demo_model()), device="cpu").model
    text = np.frombuffer(b"x = 1\n" * 100, dtype=np.uint8)
    arguments = TrainingArguments(
        output_dir=str(folder), max_steps=4, per_device_train_batch_size=2, logging_steps=100, use_cpu=True,
        report_to="none", save_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=TrainingWindows(text, 64, 8, 0.0, 0),
        callbacks=[*callbacks],
    )
    trainer.train()
    return trainer


def test_it_logs_the_measured_limit_beside_the_predicted_one(tmp_path, ids):
    trainer = train(tmp_path, ids, LimitCallback(ids, train_len=128, every=2))
    logged = [entry for entry in trainer.state.log_history if "excess_at_end" in entry]
    assert [entry["step"] for entry in logged] == [2, 4]
    assert {entry["limit_predicted"] for entry in logged} == {128.0}
    excess = []
    for row in torch.from_numpy(ids):
        full = nll_by_position(trainer.model.eval(), row[None], decode(trainer.model, row[None]))[0]
        excess.append(full - nll_windowed(trainer.model, row, 128))
    curves = np.stack(excess)
    assert logged[-1]["limit_measured"] == measure_limit(curves, 128).position
    assert logged[-1]["excess_at_end"] == pytest.approx(float(curves[:, 240:].mean()), rel=1e-5)


def test_it_leaves_the_weights_as_they_would_be_without_it(tmp_path, ids):
    plain = train(tmp_path / "a", ids).model.state_dict()
    watched = train(tmp_path / "b", ids, LimitCallback(ids, train_len=128, every=1)).model.state_dict()
    assert all(torch.equal(plain[name], watched[name]) for name in plain)


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
    with pytest.raises(ConfigError, match="sequences of 320 tokens cannot show a limit past train_len 320"):
        LimitCallback(ids, train_len=320)

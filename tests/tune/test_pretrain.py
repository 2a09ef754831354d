"""Pretraining: deterministic, faithful to the recipe, and recorded beside the weights."""

import hashlib
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer

from ropediag.errors import ConfigError
from ropediag.tune import trainer
from ropediag.tune.config import PretrainConfig
from ropediag.tune.metadata import hash_weights, read_metadata
from ropediag.tune.pretrain import pretrain_model
from ropediag.tune.shapes import build_model
from ropediag.tune.trainer import Recipe, _arguments
from ropediag.tune.windows import TrainingWindows
from tests.tune.tiny import TEXT


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pretrain")
    (folder / "text.py").write_text(TEXT)
    return PretrainConfig(
        out=folder / "model",
        text=(folder / "text.py",),
        length=64,
        base=500.0,
        layers=1,
        width=32,
        heads=1,
        steps=40,
        batch=4,
        seed=3,
    )


@pytest.fixture(scope="module")
def trained(config):
    lines = []
    return pretrain_model(config, say=lines.append), lines


def test_the_checkpoint_loads_as_an_ordinary_one(config, trained):
    folder, _ = trained
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.config.rope_parameters["rope_theta"] == 500.0
    assert model.config.max_position_embeddings == 64
    assert model.config.head_dim == 64
    assert not model.config.tie_word_embeddings
    assert model.config.use_cache
    assert {tensor.dtype for tensor in load_file(folder / "model.safetensors").values()} == {torch.float32}
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer("naïve\n")["input_ids"] == list("naïve\n".encode())
    assert not (folder / "training_args.bin").exists()


def test_the_record_says_how_it_was_made(config, trained):
    folder, _ = trained
    record = read_metadata(folder)
    assert (record.kind, record.base, record.pretrain_base) == ("pretrain", 500.0, 500.0)
    assert (record.train_len, record.tune_len, record.steps, record.seed) == (64, 64, 40, 3)
    assert record.phases == [{"length": 64, "base": 500.0, "label": "pretraining"}]
    assert record.tokens == 40 * 4 * 64
    assert record.text_hash == hashlib.sha256(TEXT.encode()).hexdigest()
    assert record.weights_hash == hash_weights(folder)
    assert record.command == config.command_line()
    bits, nats = (
        record.loss[name]["value"] for name in ("held_out_bits_per_byte", "held_out_nats_per_token")
    )
    assert bits == pytest.approx(nats / np.log(2))
    assert 1 < bits < 8
    card = (folder / "README.md").read_text()
    assert record.text_hash in card
    assert f"{bits:.3f} bits per byte" in card


def test_training_lowers_the_loss_in_plain_lines(trained):
    _, lines = trained
    assert lines[0].startswith("computing in ")
    assert lines[1] == "training: 40 steps"
    assert lines[2].startswith("step 4 of 40, loss 5.")
    assert lines[-2].startswith("step 40 of 40, loss ")
    assert float(lines[-2].split()[-2]) < 4.5
    assert lines[-1] == "measuring loss and recall on the held-out text"


@pytest.mark.parametrize(("instructions", "compute"), [({}, "float32"), ({"avx512_bf16": True}, "bfloat16")])
def test_the_first_line_and_the_record_name_the_type_that_the_processor_computes_in(
    config, tmp_path, monkeypatch, instructions, compute
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions, raising=False)
    given, said = [], []
    make = trainer.TrainingArguments
    monkeypatch.setattr(
        trainer, "TrainingArguments", lambda **options: given.append(options) or make(**options)
    )
    folder = pretrain_model(replace(config, out=tmp_path / "typed", steps=2), say=said.append)
    assert said[0].startswith(f"computing in {compute}: this CPU has ")
    assert given[0]["bf16"] == (compute == "bfloat16")
    assert read_metadata(folder).machine["compute"] == compute
    assert f"computed in {compute}" in (folder / "README.md").read_text()


def test_the_seed_fixes_the_weights(config, trained, tmp_path):
    folder, _ = trained
    torch.manual_seed(99)
    again = pretrain_model(replace(config, out=tmp_path / "again"), say=lambda line: None)
    assert hash_weights(again) == hash_weights(folder)
    other = pretrain_model(replace(config, out=tmp_path / "other", seed=4), say=lambda line: None)
    assert hash_weights(other) != hash_weights(folder)


def test_a_text_shorter_than_a_window_is_refused(config, tmp_path):
    (tmp_path / "short.txt").write_text("x" * 63)
    short = replace(config, out=tmp_path / "model", text=(tmp_path / "short.txt",))
    with pytest.raises(ConfigError, match=r"has 63 tokens \(bytes\) and one training window takes 64"):
        pretrain_model(short)
    assert not short.out.exists()


def test_the_optimiser_follows_the_recipe(config, tmp_path):
    longer = replace(config, out=tmp_path / "model", steps=1000)
    recipe = Recipe(steps=1000, batch=longer.batch, lr=longer.lr, warmup_steps=100, seed=0)
    trainer = Trainer(model=build_model(longer), args=_arguments(recipe, tmp_path))
    trainer.create_optimizer_and_scheduler(num_training_steps=1000)
    group = trainer.optimizer.param_groups[0]
    assert group["betas"] == (0.9, 0.95)
    decayed = trainer.get_decay_parameter_names(trainer.model)
    undecayed = {name for name, _ in trainer.model.named_parameters()} - set(decayed)
    assert undecayed == {
        "model.norm.weight",
        "model.layers.0.input_layernorm.weight",
        "model.layers.0.post_attention_layernorm.weight",
    }
    rates = []
    for _ in range(1000):
        rates.append(trainer.optimizer.param_groups[0]["lr"])
        trainer.optimizer.step()
        trainer.lr_scheduler.step()
    assert np.argmax(rates) == 100
    assert rates[100] == pytest.approx(3e-3)
    assert rates[50] == pytest.approx(1.5e-3)
    assert rates[-1] == pytest.approx(0.05 * 3e-3, rel=0.01)


def test_windows_have_the_training_length_and_the_share_of_recall_lines():
    text = np.frombuffer(TEXT.encode(), dtype=np.uint8)
    windows = TrainingWindows(text, length=64, windows=2000, recall_share=0.1, seed=0)
    drawn = [bytes(windows[n]["input_ids"].tolist()) for n in range(2000)]
    assert {len(window) for window in drawn} == {64}
    assert sum(b"#get " in window for window in drawn) == pytest.approx(200, abs=50)
    assert all(window in TEXT.encode() for window in drawn if b"#get " not in window)
    assert len(set(drawn)) > 1500
    assert (windows[7]["labels"] == windows[7]["input_ids"]).all()


def test_training_never_loads_what_it_does_not_need():
    code = (
        "import sys, ropediag.tune.pretrain; "
        "sys.exit(bool({'transformer_lens', 'dash', 'plotly', 'wandb'} & {*sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_importing_the_package_costs_nothing():
    code = "import sys, ropediag.tune; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

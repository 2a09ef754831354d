"""Tuning: the RoPE that was asked for, the pretraining kept on record, the weights really trained."""

import inspect
import json
import shlex
import shutil
from dataclasses import MISSING, fields

import numpy as np
import pytest
import torch
import typer
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner

from ropediag.assets import demo_model
from ropediag.checkpoint import ASSUMED, NO_FLAGS, read_checkpoint, resolve_training
from ropediag.cli import tune as tune_command
from ropediag.errors import ConfigError, ModelError
from ropediag.models.load import fingerprint_weights, load_model
from ropediag.models.rotation import measure_rotation
from ropediag.prediction import predict
from ropediag.rope import inv_freq
from ropediag.scaling import spec_from_config, yarn_inv_freq
from ropediag.theory.phases import PhaseSpec
from ropediag.tune import trainer, tune
from ropediag.tune.metadata import hash_weights, read_metadata
from ropediag.tune.pretrain import pretrain_model
from ropediag.tune.tune import tune_model
from ropediag.tune.tune_config import TuneConfig
from tests.evaluate.bpe import bos_tokenizer
from tests.families import tiny_model
from tests.tune.tiny import tiny_config


def quiet(line):
    """Say nothing."""


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    return pretrain_model(tiny_config(tmp_path_factory.mktemp("tune")), say=quiet)


@pytest.fixture
def config(parent, tmp_path):
    return TuneConfig(
        model=str(parent),
        out=tmp_path / "tuned",
        base=8000.0,
        text=(parent.parent / "text.py",),
        steps=3,
        batch=4,
    )


def changed(config, **fields):
    return TuneConfig(**{**vars(config), **fields})


def test_a_tuned_checkpoint_has_the_new_base_and_keeps_its_pretraining_on_record(parent, config):
    folder = tune_model(changed(config, length=128), say=quiet)
    model = load_model(str(folder)).model
    assert model.config.rope_parameters == {"rope_theta": 8000.0, "rope_type": "default"}
    record = read_metadata(folder)
    assert (record.kind, record.base, record.tune_len) == ("tune", 8000.0, 128)
    assert (record.pretrain_base, record.train_len) == (500.0, 64)
    assert record.parent == {"name": "parent", "weights_hash": hash_weights(parent)}
    assert (record.steps, record.tokens) == (3, 3 * 4 * 128)
    assert record.weights_hash == hash_weights(folder)
    assert record.weight_fingerprint == fingerprint_weights(model)  # so a capture names its checkpoint
    answer = predict(folder)
    assert (answer.base, answer.pretrain_base, answer.train_len, answer.tune_len) == (8000.0, 500.0, 64, 128)
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["README.md", "config.json", "generation_config.json", "model.safetensors", "ropediag.json",
         "tokenizer.json", "tokenizer_config.json"]
    )  # fmt: skip


def test_a_model_tuned_twice_keeps_its_first_base_and_length(config, tmp_path):
    once = tune_model(config, say=quiet)
    twice = tune_model(
        changed(config, model=str(once), out=tmp_path / "twice", base=1e5, length=96), say=quiet
    )
    record = read_metadata(twice)
    assert (record.base, record.tune_len, record.pretrain_base, record.train_len) == (1e5, 96, 500.0, 64)
    config_json, metadata = read_checkpoint(twice)
    assert resolve_training(NO_FLAGS, metadata, config_json).pretrain_base == 500.0


@pytest.fixture(scope="module")
def yarned(tmp_path_factory):
    """A model pretrained at base 10,000, tuned to 160,000, and tuned once more under YaRN; what was said."""
    folder, said = tmp_path_factory.mktemp("twice"), []
    first = pretrain_model(tiny_config(folder, base=10_000.0, length=128, steps=2), say=quiet)
    shared = {"text": (folder / "text.py",), "steps": 1, "batch": 2}
    once = tune_model(TuneConfig(str(first), folder / "once", base=160_000.0, **shared), say=quiet)
    yarn = {"scaling": "yarn", "factor": 4.0, "length": 200}
    return tune_model(TuneConfig(str(once), folder / "yarned", **yarn, **shared), say=said.append), said


YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}


def test_a_model_tuned_twice_records_three_phases(yarned):
    folder, said = yarned
    assert json.loads((folder / "ropediag.json").read_text())["phases"] == [
        {"length": 128, "base": 10_000.0, "label": "pretraining"},
        {"length": 128, "base": 160_000.0, "label": "tuning"},
        {"length": 200, "base": 160_000.0, "rule": YARN, "label": "tuning"},
    ]
    assert [line for line in said if line.startswith("trained: ")] == [
        "trained: 128 tokens at base 10,000, pretraining (from ropediag.json)",
        "trained: 128 tokens at base 160,000, tuning (from ropediag.json)",
    ]


def test_a_model_tuned_twice_reaches_as_far_as_its_three_rotations_turned(yarned):
    answer = predict(yarned[0])
    now = yarn_inv_freq(64, 160_000.0, 4.0, 128)
    rotations = [(inv_freq(64, 10_000.0), 128), (inv_freq(64, 160_000.0), 128), (now, 200)]
    reaches = []
    for pair, frequency in enumerate(now):
        angle = max(rotation[pair] * length for rotation, length in rotations)
        reaches.append(None if angle >= 2 * np.pi else angle / frequency)
    assert answer.reach == pytest.approx(reaches)
    assert answer.first_reach == pytest.approx(min(reach for reach in reaches if reach is not None))
    assert answer.first_reach > 2 * 332, "all three count: YaRN stretches the reach that the base stretched"
    assert (answer.predicted_limit, answer.assumes_tuning) == (answer.first_reach, False)


def test_phases_of_a_record_of_four_numbers_and_of_flags_are_written_out(parent, config, tmp_path):
    old = shutil.copytree(parent, tmp_path / "old")
    record = json.loads((old / "ropediag.json").read_text())
    phases = record.pop("phases")
    assert phases == [{"length": 64, "base": 500.0, "label": "pretraining"}]
    (old / "ropediag.json").write_text(json.dumps(record))
    tuning = {"length": 64, "base": 8000.0, "label": "tuning"}
    assert read_metadata(tune_model(changed(config, model=str(old)), say=quiet)).phases == [*phases, tuning]
    said = []
    flags = (PhaseSpec(32, source="--phase"), PhaseSpec(48, 700.0, label="longer", source="--phase"))
    replaced = changed(config, phases=flags, length=96, out=tmp_path / "replaced")
    assert read_metadata(tune_model(replaced, say=said.append)).phases == [
        {"length": 32, "base": 500.0},
        {"length": 48, "base": 700.0, "label": "longer"},
        {"length": 96, "base": 8000.0, "label": "tuning"},
    ]
    assert "trained: 48 tokens at base 700, longer (from --phase)" in said
    assert "note: --phase replaces the training that ropediag.json records" in said


def test_an_assumed_length_stays_one_in_the_record(parent, config, tmp_path):
    bare = shutil.copytree(parent, tmp_path / "bare")
    (bare / "ropediag.json").unlink()
    folder = tune_model(changed(config, model=str(bare)), say=quiet)
    assert read_metadata(folder).phases[0] == {
        "length": 64, "base": 500.0, "label": "pretraining", "source": ASSUMED
    }  # fmt: skip
    assert predict(folder).phases[0]["source"] == ASSUMED


def test_a_length_that_contradicts_the_record_is_refused(config):
    with pytest.raises(ConfigError, match=r"train_len is 96 by its flag and 64 by .* ropediag.json"):
        tune_model(changed(config, train_len=96), say=quiet)


def test_all_weights_are_trained_and_the_seed_fixes_them(parent, config, tmp_path):
    before = AutoModelForCausalLM.from_pretrained(parent).state_dict()
    after = AutoModelForCausalLM.from_pretrained(tune_model(config, say=quiet)).state_dict()
    assert [name for name in before if torch.equal(before[name], after[name])] == []
    again = tune_model(changed(config, out=tmp_path / "again"), say=quiet)
    other = tune_model(changed(config, out=tmp_path / "other", seed=1), say=quiet)
    assert hash_weights(again) == hash_weights(config.out) != hash_weights(other)


@pytest.mark.parametrize("scaling", ["linear", "ntk", "dynamic", "yarn", "llama3"])
def test_every_scaling_rule_is_the_one_that_the_tuned_model_applies(config, scaling):
    folder = tune_model(changed(config, base=None, scaling=scaling, factor=4.0, steps=1), say=quiet)
    model = load_model(str(folder)).model
    found = measure_rotation(model, np.array([0, 199])).spec
    wanted = spec_from_config(json.loads((folder / "config.json").read_text()), length=200)
    np.testing.assert_allclose(found.inv_freq, wanted.inv_freq, rtol=1e-4)
    assert read_metadata(folder).scaling == {"rule": scaling, "factor": 4.0}


def test_lora_is_merged_into_ordinary_weights(parent, config):
    pytest.importorskip("peft")
    before = AutoModelForCausalLM.from_pretrained(parent).state_dict()
    after = AutoModelForCausalLM.from_pretrained(tune_model(changed(config, lora=2), say=quiet)).state_dict()
    assert before.keys() == after.keys()
    change = (
        after["model.layers.0.mlp.up_proj.weight"] - before["model.layers.0.mlp.up_proj.weight"]
    ).double()
    assert torch.linalg.matrix_rank(change, rtol=1e-3) == 2
    assert torch.equal(before["model.embed_tokens.weight"], after["model.embed_tokens.weight"])


@pytest.mark.parametrize(("bos", "begins"), [(None, True), (False, False)])
def test_windows_begin_as_the_tokenizer_begins_a_text(config, tmp_path, monkeypatch, bos, begins):
    """What is tuned is measured with BOS before each window, so it is trained with it."""
    tokenizer = bos_tokenizer()
    tiny_model("llama", vocab_size=len(tokenizer)).save_pretrained(tmp_path / "begun")
    tokenizer.save_pretrained(tmp_path / "begun")
    seen, said, run = [], [], tune.run_trainer
    monkeypatch.setattr(
        tune, "run_trainer", lambda model, windows, *rest: seen.append(windows) or run(model, windows, *rest)
    )
    folder = tune_model(
        changed(config, model=str(tmp_path / "begun"), train_len=64, length=32, bos=bos), say=said.append
    )
    windows = [seen[0][number] for number in range(len(seen[0]))]
    assert [window["input_ids"][0].item() == tokenizer.bos_token_id for window in windows] == [begins] * 12
    assert {len(window["input_ids"]) for window in windows} == {32}
    labels = seen[0][3]["labels"]
    assert (labels[1:] == seen[0][3]["input_ids"][1:]).all()
    assert (labels[0] == -100) == begins
    assert read_metadata(folder).bos == ("<bos>" if begins else "")
    assert ("every window begins with <bos>, as the model's tokenizer begins a text" in said) == begins


def test_bos_is_refused_for_a_model_whose_tokens_are_bytes(config):
    with pytest.raises(ConfigError, match="no token for the beginning of a text: leave out --bos"):
        tune_model(changed(config, bos=True), say=quiet)


def test_the_recorded_command_repeats_the_run(config, monkeypatch):
    phases = (
        PhaseSpec(64, 500.0, label="pretraining", source="--phase"),
        PhaseSpec(128, 500.0, YARN, "all", source="--phase"),
    )
    wanted = changed(
        config,
        length=96,
        scaling="yarn",
        factor=2.0,
        gradient_checkpointing=True,
        seed=2,
        bos=False,
        phases=phases,
    )
    made = []
    monkeypatch.setattr(tune, "tune_model", lambda config, say: made.append(config) or demo_model())
    app = typer.Typer()
    app.command()(tune_command.command)
    result = CliRunner().invoke(app, shlex.split(wanted.command_line())[2:])
    assert result.exit_code == 0, result.output
    assert made == [wanted]


def test_the_command_offers_every_setting_with_its_default():
    flags = inspect.signature(tune_command.command).parameters
    settings = {field.name: field.default for field in fields(TuneConfig)}
    settings["phase"] = settings.pop("phases")  # one flag for each
    assert set(flags) == set(settings)
    for name, default in settings.items():
        if default is not MISSING:
            repeated = name in ("text", "report_to", "phase")
            assert flags[name].default == (default or None if repeated else default)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"base": 1.0}, "base must be a number above 1"),
        ({"base": float("nan")}, "base must be a number above 1"),
        ({"scaling": "yarn"}, "go together"),
        ({"scaling": "bent", "factor": 2.0}, "one of linear"),
        ({"scaling": "yarn", "factor": 1.0}, "factor must be a number above 1"),
        ({"length": 1}, "length must be at least 2"),
        ({"steps": -1}, "steps must be at least 0"),
        ({"steps": 0, "base": None}, "0 steps change nothing but RoPE"),
        ({"dtype": "int8"}, "float32 or bfloat16"),
        ({"lora": 0}, "lora must be at least 1"),
        ({"lora": 2, "fsdp": True}, "give --lora or --fsdp, not both"),
    ],
)
def test_settings_that_cannot_be_used_are_refused_before_anything_loads(config, given, words):
    with pytest.raises(ConfigError, match=words):
        changed(config, **given)


def test_too_little_text_is_refused_before_weights_are_read(config, monkeypatch):
    monkeypatch.setattr(tune, "load_model", None)
    with pytest.raises(ConfigError, match=r"the text has \d+ tokens and one training window takes 100000"):
        tune_model(changed(config, length=100_000), say=quiet)


@pytest.mark.parametrize("change", [{"base": 8000.0}, {"base": None, "scaling": "yarn", "factor": 4.0}])
def test_no_steps_change_the_rope_alone_and_leave_the_training_on_record(config, parent, change):
    folder = tune_model(changed(config, steps=0, text=(), **change), say=quiet)
    before = AutoModelForCausalLM.from_pretrained(parent).state_dict()
    model = AutoModelForCausalLM.from_pretrained(folder)
    for name, weights in model.state_dict().items():
        torch.testing.assert_close(weights, before[name], rtol=0, atol=0)
    rope = model.config.rope_parameters
    assert (rope["rope_theta"], rope["rope_type"]) == (
        (8000.0, "default") if change["base"] else (500.0, "yarn")
    )
    metadata = read_metadata(folder)
    assert metadata.phases == read_metadata(parent).phases
    assert (metadata.steps, metadata.weights_hash) == (0, hash_weights(folder))
    assert predict(folder).assumes_tuning
    assert "not trained" in (folder / "README.md").read_text()


def test_a_run_that_memory_cannot_hold_is_refused(config, monkeypatch):
    monkeypatch.setattr(tune, "available_memory", lambda device: 2**20)
    with pytest.raises(ConfigError, match="GiB are free"):
        tune_model(config, say=quiet)
    assert not config.out.exists()


def test_a_batch_that_cannot_be_shared_out_is_refused(config):
    with pytest.raises(ConfigError, match="multiple of 3"):
        tune_model(changed(config, accumulate=3), say=quiet)


def test_sharding_is_refused_where_the_trainer_would_silently_replicate(config):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU to shard on")
    with pytest.raises(ConfigError, match="--fsdp needs one GPU a process"):
        tune_model(changed(config, fsdp=True), say=quiet)


def test_a_sharded_run_hands_over_the_whole_trained_model(config, monkeypatch):
    """What is gathered after a run that is called sharded has the weights of the run that is not."""
    plain = load_model(str(tune_model(config, say=quiet))).model.state_dict()
    monkeypatch.setattr(trainer, "_check_sharding", lambda recipe, run: None)
    out = config.out.with_name("gathered")
    gathered = load_model(str(tune_model(changed(config, fsdp=True, out=out), say=quiet))).model.state_dict()
    assert gathered.keys() == plain.keys()
    assert all(torch.equal(gathered[name], plain[name]) for name in plain)


def test_a_model_without_rope_is_refused(config, tmp_path):
    (tmp_path / "gpt2").mkdir()
    (tmp_path / "gpt2" / "config.json").write_text('{"model_type": "gpt2"}')
    (tmp_path / "gpt2" / "model.safetensors").write_bytes(b"")
    with pytest.raises(ConfigError, match="no RoPE"):
        tune_model(changed(config, model=str(tmp_path / "gpt2")), say=quiet)


def test_a_model_that_is_not_there_is_refused(config):
    with pytest.raises(ModelError, match="no model at nowhere"):
        tune_model(changed(config, model="nowhere"), say=quiet)

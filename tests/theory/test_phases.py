"""Phases as they are typed and stored, and the trainings they make of a model's layers."""

import json

import numpy as np
import pytest

from ropediag.checkpoint import TrainingFlags, resolve_training
from ropediag.config import parse_phase
from ropediag.errors import ConfigError
from ropediag.rope import inv_freq
from ropediag.rope_config import read_layers
from ropediag.scaling import yarn_inv_freq
from ropediag.theory.phases import ALL, OWN, PhaseSpec, TrainingHistory, read_phases

LLAMA = {
    "model_type": "llama",
    "hidden_size": 64,
    "num_attention_heads": 1,
    "num_hidden_layers": 2,
    "max_position_embeddings": 512,
    "rope_theta": 1e4,
}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("len=2048", PhaseSpec(2048, source="--phase")),
        ("len=8k,base=1e5", PhaseSpec(8192, 1e5, source="--phase")),
        (
            "base=500_000,len=8192,window=4k,label=long",
            PhaseSpec(8192, 5e5, window=4096, label="long", source="--phase"),
        ),
        ("len=128,window=all,rule=own", PhaseSpec(128, rule=OWN, window=ALL, source="--phase")),
        (f"len=512,rule={json.dumps(YARN)},label=a", PhaseSpec(512, rule=YARN, label="a", source="--phase")),
    ],
)  # fmt: skip
def test_a_phase_is_read_as_it_is_typed_and_written_so_that_it_reads_the_same(text, expected):
    assert parse_phase(text) == expected
    assert parse_phase(str(expected)) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("base=1e4", "needs its length, len=TOKENS"),
        ("len=1", "len of a training phase must be a whole number of tokens, at least 2: got 1"),
        ("len=abc", "'abc' is not a number of tokens"),
        ("len=128,base=1", "above 1: got 1.0"),
        ("len=128,base=nan", "above 1: got nan"),
        ("len=128,base=x", "base of a training phase must be a number: got 'x'"),
        ("len=128,rule=yarn", "rule of a training phase is JSON"),
        ("len=128,rule={", "is not JSON"),
        ('len=128,rule={"factor": 4}', "names its rope_type"),
        ("len=128,windw=4", "got 'windw=4'"),
        ("len=128,len=256", "len is given twice"),
        ("", "a phase is written len=8192,base=100000"),
    ],
)
def test_what_is_no_phase_is_refused_by_its_part(text, words):
    with pytest.raises(ConfigError, match=words):
        parse_phase(text)


def test_phases_survive_json():
    phases = (PhaseSpec(128, 1e4, label="pretraining", source="a"), PhaseSpec(512, rule=YARN, window=64))
    stored = json.loads(json.dumps(TrainingHistory(phases, 1e4).to_json()))
    assert read_phases(stored, "x") == (phases[0], PhaseSpec(512, rule=YARN, window=64, source="x"))


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([], "list of training phases in f is empty"),
        ({}, "must be a list of objects"),
        ([1], "must be a list of objects"),
        ([{"length": 128, "bse": 1e4}], "unknown key bse"),
        ([{"base": 1e4}], "states no length"),
        ([{"length": "128"}], "f: len of a training phase must be a whole number"),
        ([{"length": 128, "base": float("nan")}], "f: base of a training phase"),
        ([{"length": 128, "window": 0}], "f: window of a training phase"),
        ([{"length": 128, "rule": "yarn"}], "f: rule of a training phase must be an object"),
    ],
)
def test_stored_phases_that_cannot_be_are_refused_by_their_source(entries, words):
    with pytest.raises(ConfigError, match=words):
        read_phases(entries, "f")


def test_a_phase_turns_as_its_base_and_rule_say():
    layers = read_layers({**LLAMA, "rope_scaling": YARN})
    phases = (PhaseSpec(128), PhaseSpec(300, 5e4), PhaseSpec(512, rule=OWN), PhaseSpec(600, 5e4, YARN))
    training = TrainingHistory(phases, 1e4).build(layers)
    expected = [
        inv_freq(64, 1e4),
        inv_freq(64, 5e4),
        yarn_inv_freq(64, 1e4, 4.0, 128),
        yarn_inv_freq(64, 5e4, 4.0, 128),
    ]
    for phase, rotation in zip(training.phases, expected, strict=True):
        np.testing.assert_allclose(phase.inv_freq, np.tile(rotation, (2, 1)))
    np.testing.assert_allclose(training.inv_freq[0], expected[2])


def test_a_base_applies_to_the_layers_that_have_the_base_of_the_model():
    config = {**LLAMA, "sliding_window": 32, "layer_types": ["sliding_attention", "full_attention"]}
    config["rope_parameters"] = {
        "sliding_attention": {"rope_theta": 1e4},
        "full_attention": {"rope_theta": 1e6},
    }
    training = TrainingHistory((PhaseSpec(128, 2e4), PhaseSpec(256, window=64)), 1e6).build(
        read_layers(config)
    )
    assert training.phases[0].base.tolist() == [1e4, 2e4]
    assert training.phases[0].span.tolist() == [32, 128]
    assert training.phases[1].span.tolist() == [64, 64]
    assert training.critical_pair().tolist() == [9, 10]


def test_a_measured_rotation_that_is_that_of_a_phase_is_taken_as_it_was_measured():
    measured = np.tile(inv_freq(64, 1e4).astype(np.float32).astype(float), (2, 1))
    training = TrainingHistory((PhaseSpec(128),), 1e4).build(read_layers(LLAMA), measured)
    assert set(training.reach()[0].tolist()) == {np.inf, 128.0}
    short = measured[:, :30]
    with pytest.raises(ConfigError, match="states 32 rotary pairs, and the model turns 30"):
        TrainingHistory((PhaseSpec(128),), 1e4).build(read_layers(LLAMA), short)


def test_sources_in_their_order():
    """Flags, the list or the four numbers of ropediag.json, the scaling rule's length, then an assumption."""

    def phases(metadata=None, config=LLAMA, **flags):
        found = resolve_training(TrainingFlags(**flags), metadata or {}, config)
        return [(phase.length, phase.base, phase.source) for phase in found.phases]

    listed = {"phases": [{"length": 64, "base": 5e3, "label": "one"}, {"length": 128}]}
    numbers = {"train_len": 128, "tune_len": 256, "pretrain_base": 100.0, "base": 1e4}
    scaled = {**LLAMA, "rope_scaling": YARN}
    assert phases(listed) == [(64, 5e3, "ropediag.json"), (128, None, "ropediag.json")]
    assert phases(numbers) == [(128, 100.0, "ropediag.json"), (256, 1e4, "ropediag.json")]
    assert phases(config=scaled) == [(128, None, "original_max_position_embeddings")]
    assert phases() == [(512, None, "max_position_embeddings, an assumption")]
    assert phases(train_len=99) == [(99, None, "--train-len")]
    assert phases(train_len=99, tune_len=200) == [(99, None, "--train-len"), (200, None, "--tune-len")]
    chosen = (PhaseSpec(7, source="--phase"),)
    assert phases(listed, phases=chosen) == [(7, None, "--phase")]
    replaced = resolve_training(TrainingFlags(phases=chosen), listed, LLAMA)
    assert replaced.notes == ("--phase replaces the training that ropediag.json records",)


@pytest.mark.parametrize("flag", ["train_len", "tune_len", "pretrain_base"])
def test_phases_and_another_statement_are_refused(flag):
    with pytest.raises(
        ConfigError, match="--phase states the whole training: leave out --" + flag.replace("_", "-")
    ):
        TrainingFlags(phases=(PhaseSpec(128),), **{flag: 256})


def test_a_length_that_contradicts_the_list_is_refused_and_both_are_named():
    metadata = {"phases": [{"length": 64}, {"length": 128}]}
    with pytest.raises(ConfigError, match=r"train_len is 65 by its flag and 64 by .* --phase"):
        resolve_training(TrainingFlags(train_len=65), metadata, LLAMA)
    with pytest.raises(ConfigError, match="tune_len is 256 by its flag and 128"):
        resolve_training(TrainingFlags(tune_len=256), metadata, LLAMA)

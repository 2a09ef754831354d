"""The record beside the weights: what is written comes back, what is no record is refused."""

import json
from dataclasses import asdict, replace

import pytest

from ropediag.checkpoint import ASSUMED, NO_FLAGS, resolve_training
from ropediag.errors import FormatError
from ropediag.rope_parameters import plain_config
from ropediag.theory.phases import PhaseSpec, TrainingHistory, read_phases
from ropediag.tune.metadata import (
    CheckpointMetadata,
    package_versions,
    read_metadata,
    record_phases,
    write_metadata,
)

RECORD = CheckpointMetadata(
    kind="tune",
    base=40_000.0,
    tune_len=256,
    pretrain_base=10_000.0,
    train_len=128,
    steps=300,
    tokens=1_228_800,
    text_hash="ab" * 32,
    recall_share=0.1,
    seed=3,
    loss={"train_nats_per_token": 1.2},
    versions={"python": "3.11.7"},
    machine={"device": "cpu", "threads": 1},
    command="ropediag tune --out 'a b'",
    weights_hash="cd" * 32,
    phases=[{"length": 128, "base": 10_000.0, "label": "pretraining"}, {"length": 256, "base": 40_000.0}],
)


def test_a_record_comes_back_as_written(tmp_path):
    path = write_metadata(tmp_path, RECORD)
    assert path.name == "ropediag.json"
    assert read_metadata(tmp_path) == RECORD
    assert read_metadata(tmp_path) != replace(RECORD, base=1.0)


def test_a_checkpoint_without_a_record_is_no_error(tmp_path):
    assert read_metadata(tmp_path) is None


def test_a_record_without_phases_states_them_by_its_four_numbers(tmp_path):
    write_metadata(tmp_path, replace(RECORD, phases=None))
    metadata = json.loads((tmp_path / "ropediag.json").read_text())
    for record in (metadata, {name: value for name, value in metadata.items() if name != "phases"}):
        (tmp_path / "ropediag.json").write_text(json.dumps(record))
        assert read_metadata(tmp_path) == replace(RECORD, phases=None)
        found = resolve_training(NO_FLAGS, record, plain_config(64, 40_000.0))
        assert [(phase.length, phase.base) for phase in found.phases] == [(128, 10_000.0), (256, 40_000.0)]
        assert {phase.source for phase in found.phases} == {"ropediag.json"}


def test_the_record_is_the_source_of_what_a_flag_stated_and_of_no_assumption():
    sources = ("--phase", "ropediag.json", "--train-len", ASSUMED, "original_max_position_embeddings")
    history = TrainingHistory(tuple(PhaseSpec(64, source=source) for source in sources), 1e4)
    found = [phase.get("source") for phase in record_phases(history)]
    assert found == [None, None, None, ASSUMED, "original_max_position_embeddings"]
    assert [phase.source for phase in read_phases(record_phases(history), "ropediag.json")][:3] == [
        "ropediag.json"
    ] * 3


def test_fields_of_later_versions_are_left_out(tmp_path):
    (tmp_path / "ropediag.json").write_text(json.dumps(asdict(RECORD) | {"later": 1}))
    assert read_metadata(tmp_path) == RECORD


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "not readable JSON"), ("[]", "lacks kind, base"), ('{"kind": "tune"}', "lacks base, tune_len")],
)
def test_what_is_no_record_is_refused(tmp_path, content, message):
    (tmp_path / "ropediag.json").write_text(content)
    with pytest.raises(FormatError, match=message):
        read_metadata(tmp_path)


def test_versions_name_what_shapes_a_run():
    import torch

    assert (
        package_versions()["torch"].split("+")[0] == torch.__version__.split("+")[0]
    )  # with or without "+cpu"
    assert {"python", "ropediag", "transformers", "numpy"} <= set(package_versions())

"""A cell that is tuned over several GPUs runs under torchrun."""

import pytest

from ropediag.errors import ConfigError, RopediagError
from ropediag.tune import sharded
from ropediag.tune.metadata import read_metadata
from ropediag.tune.pretrain import pretrain_model
from ropediag.tune.tune_config import TuneConfig
from tests.tune.tiny import tiny_config


@pytest.fixture
def config(tmp_path):
    parent = pretrain_model(tiny_config(tmp_path, steps=2), say=lambda line: None)
    text = (tmp_path / "text.py",)
    return TuneConfig(
        str(parent), tmp_path / "cell" / "model", 8000.0, text=text, steps=2, batch=4, fsdp=True
    )


def test_a_machine_without_a_gpu_is_named(config, monkeypatch):
    monkeypatch.setattr(sharded.torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ConfigError, match="fsdp needs at least one GPU"):
        sharded.tune_sharded(config)


def test_the_processes_of_a_run_tune_together_and_a_refusal_is_one_line(config, monkeypatch):
    monkeypatch.setattr(sharded.torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    with pytest.raises(RopediagError, match="torchrun ended with status 1: --fsdp needs one GPU a process"):
        sharded.tune_sharded(config)
    plain = TuneConfig(config.model, config.out, 8000.0, text=config.text, steps=2, batch=4, force=True)
    said = []
    sharded.tune_sharded(plain, say=said.append)  # replicated over two processes: no GPU here
    assert read_metadata(plain.out).base == 8000.0
    assert any(line.startswith("step 2 of 2") for line in said)

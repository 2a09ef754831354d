"""Two processes train as one does."""

import json
import os
import subprocess
import sys

import pytest
import torch

from ropediag.tune.metadata import read_metadata
from ropediag.tune.pretrain import pretrain_model
from ropediag.tune.tune import tune_model
from ropediag.tune.tune_config import TuneConfig
from tests.tune.tiny import tiny_config

CODE = """
import atexit, json, os, sys
import torch
from pathlib import Path
from ropediag.tune.tune import tune_model
from ropediag.tune.tune_config import TuneConfig
torch.set_num_threads(1)
ended = lambda: os.write(1, f"group at the end: {torch.distributed.is_initialized()}\\n".encode())
atexit.register(ended)
given = json.loads(sys.argv[1])
tune_model(TuneConfig(**given | {"out": Path(given["out"]), "text": (Path(given["text"]),)}), say=print)
assert torch.distributed.get_world_size() == 2 and torch.distributed.get_backend() == "gloo"
assert (Path(given["out"]) / "ropediag.json").exists()  # whichever process this is
"""


def test_two_processes_have_the_loss_of_one(tmp_path):
    parent = pretrain_model(tiny_config(tmp_path), say=lambda line: None)
    settings = {"model": str(parent), "base": 8000.0, "steps": 10, "batch": 8}
    alone = TuneConfig(out=tmp_path / "alone", text=(tmp_path / "text.py",), **settings)
    said = []
    tune_model(alone, say=said.append)

    (tmp_path / "work.py").write_text(CODE)
    given = settings | {"out": str(tmp_path / "two"), "text": str(tmp_path / "text.py")}
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0"]
    finished = subprocess.run(
        [*launch, "--standalone", str(tmp_path / "work.py"), json.dumps(given)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"},
        capture_output=True,
        text=True,
        check=False,
        timeout=1500,
    )
    assert finished.returncode == 0, finished.stderr[-2000:]
    assert finished.stdout.count("group at the end: False") == 2
    losses = [line.split("loss ")[1] for line in said if "nats" in line]
    shared = [line.split("loss ")[1] for line in finished.stdout.splitlines() if "nats" in line]
    assert len(losses) == len(shared) == 10
    for one, two in zip(losses, shared, strict=True):
        assert float(one.split()[0]) == pytest.approx(float(two.split()[0]), abs=2e-3)  # printed to 0.001
    records = [read_metadata(tmp_path / name).loss["train_nats_per_token"] for name in ("alone", "two")]
    assert records[0] == pytest.approx(records[1], abs=2e-3)


@pytest.mark.gpu
def test_sharding_on_a_gpu_is_sharding(tmp_path):
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    parent = pretrain_model(tiny_config(tmp_path), say=lambda line: None)
    code = CODE.replace('== 2 and torch.distributed.get_backend() == "gloo"', "== 1")
    (tmp_path / "work.py").write_text(code)
    given = {"model": str(parent), "base": 8000.0, "steps": 4, "batch": 4, "fsdp": True}
    given |= {"out": str(tmp_path / "sharded"), "text": str(tmp_path / "text.py")}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "1"]
    subprocess.run([*launch, str(tmp_path / "work.py"), json.dumps(given)], check=True, timeout=1500)
    assert read_metadata(tmp_path / "sharded").base == 8000.0

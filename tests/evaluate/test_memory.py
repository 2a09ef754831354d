"""A length over memory is one clear line, before the pass where it can be told, and in it where not."""

import numpy as np
import pytest
import torch

from ropediag.errors import ConfigError, RopediagError
from ropediag.evaluate import EvaluateConfig, evaluate_model, memory, run
from ropediag.evaluate.memory import evaluation_bytes
from tests.cli.command_line import run as run_command
from tests.families import tiny_model

EXHAUSTED = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory"),
    MemoryError("Unable to allocate 3.0 GiB for an array"),
]


@pytest.fixture(scope="module")
def model():
    return tiny_model("llama", vocab_size=256)


def evaluate(model):
    return evaluate_model(model, np.full((1, 128), 65), train_len=64, trials=0)


def test_a_length_over_memory_ends_in_one_line_before_the_pass(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(memory, "available_memory", lambda device: 2**20)
    monkeypatch.setattr(run, "decode", lambda *given: pytest.fail("a pass was begun"))
    words = ["--model", "demo", "--len", "4096", "--out", tmp_path / "out.h5"]
    outcome = run_command(monkeypatch, capsys, "evaluate", *words)
    assert outcome.status == 2
    assert outcome.err.count("\n") == 1
    assert "evaluating 4,096 tokens takes about 0.2 GiB of memory beside the model, 0.0 GiB are free" in (
        outcome.err
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", EXHAUSTED, ids=lambda error: type(error).__name__)
def test_memory_that_runs_out_in_the_pass_is_said_with_advice(model, monkeypatch, error):
    def decode(*given):
        raise error

    monkeypatch.setattr(run, "decode", decode)
    with pytest.raises(
        RopediagError, match="memory ran out while evaluating 128 tokens: use a smaller --len"
    ):
        evaluate(model)


def test_another_error_of_the_pass_is_not_taken_for_it(model, monkeypatch):
    def decode(*given):
        raise RuntimeError("expected a tensor of another shape")

    monkeypatch.setattr(run, "decode", decode)
    with pytest.raises(RuntimeError, match="another shape"):
        evaluate(model)


def test_memory_goes_with_the_longest_pass_and_with_its_square_where_attention_is_eager(model):
    def needed(length, trials=8):
        return evaluation_bytes(model, EvaluateConfig(model="toy", length=length, trials=trials))

    a_token = (needed(2**20) - needed(2**19)) / 2**19
    assert needed(2**21) - needed(2**20) == a_token * 2**20
    assert needed(1024, trials=0) - needed(512, trials=0) == a_token * 1024  # two windows' worth at once
    assert needed(4096) == needed(16_384)  # several prompts at once
    eager = tiny_model("llama", vocab_size=256, attn_implementation="eager")
    longer = evaluation_bytes(eager, EvaluateConfig(model="toy", length=2**20)) - needed(2**20)
    assert longer % 2**40 == 0
    assert longer > 0


def test_a_model_in_memory_is_checked_too(model, monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda device: 2**20)
    with pytest.raises(ConfigError, match="GiB are free"):
        evaluate(model)

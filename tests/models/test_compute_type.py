"""The type that is computed in, on both kinds of processor: with bfloat16 instructions and without."""

import pytest
import torch

from ropediag.capture import capture_checkpoint
from ropediag.config import CaptureConfig
from ropediag.evaluate import EvaluateConfig, evaluate_checkpoint
from ropediag.intervene.flagged import read_flagged
from ropediag.models import compute_type
from ropediag.models.compute_type import cpu_instructions, training_type
from ropediag.models.load import fingerprint_weights, load_model
from ropediag.store import open_capture
from ropediag.tune.tokenizer import byte_tokenizer
from tests.families import tiny_model

PROCESSORS = {
    "old": {"avx2": True, "avx512_bf16": False, "amx_bf16": False, "amx_fp16": False, "cpu_name": "bf16?"},
    "avx512": {"avx2": True, "avx512_bf16": True, "amx_bf16": False, "amx_fp16": False},
    "amx": {"avx2": True, "avx512_bf16": True, "amx_bf16": True, "amx_fp16": True},
}


@pytest.fixture
def processor(monkeypatch):
    """Simulate a processor, as torch 2.13 describes it or by the tests of torch 2.11; no CUDA."""

    def simulate(name, described=True):
        known = PROCESSORS[name]
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        if described:
            monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known, raising=False)
            return
        monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
        tests = {"_is_avx512_bf16_supported": "avx512_bf16", "_is_amx_fp16_supported": "amx_fp16"}
        for test, instruction in (tests | {"_is_amx_tile_supported": "amx_bf16"}).items():
            monkeypatch.setattr(torch.cpu, test, lambda there=known[instruction]: there, raising=False)

    return simulate


@pytest.fixture(scope="module", params=["bfloat16", "float16"])
def half(request, tmp_path_factory):
    """A checkpoint in half precision, and the name of its type."""
    folder = tmp_path_factory.mktemp(request.param) / "half"
    model = tiny_model("llama", vocab_size=256).to(getattr(torch, request.param))
    model.config.dtype = getattr(torch, request.param)
    model.save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder, request.param


@pytest.mark.parametrize("described", [True, False])
@pytest.mark.parametrize(
    ("name", "bfloat16", "float16"),
    [("old", (), ()), ("avx512", ("avx512_bf16",), ()), ("amx", ("amx_bf16", "avx512_bf16"), ("amx_fp16",))],
)
def test_the_instructions_of_a_processor_are_listed_for_each_type(
    processor, name, bfloat16, float16, described
):
    processor(name, described)
    assert cpu_instructions(torch.bfloat16) == bfloat16
    assert cpu_instructions(torch.float16) == float16


def test_training_computes_in_bfloat16_only_where_the_processor_does(processor):
    processor("old")
    assert training_type() == ("float32", "this CPU has no bfloat16 instructions (avx512_bf16 or amx_bf16)")
    name, reason = training_type("bfloat16")
    assert name == "bfloat16"
    assert "slow, because this CPU has no bfloat16 instructions" in reason
    processor("avx512")
    assert training_type() == ("bfloat16", "this CPU has instructions for it (avx512_bf16)")


@pytest.mark.parametrize("native", [True, False])
def test_training_on_cuda_asks_for_instructions_and_not_for_emulation(monkeypatch, native):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "GPU")
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation or native
    )
    assert training_type()[0] == ("bfloat16" if native else "float32")


def test_half_precision_weights_are_widened_without_a_change_of_value_where_the_processor_lacks_them(
    processor, half
):
    folder, dtype = half
    stored = load_model(str(folder), device="cpu", dtype=dtype)
    processor("old")
    wide = load_model(str(folder), device="cpu")
    assert {parameter.dtype for parameter in wide.model.parameters()} == {torch.float32}
    for one, other in zip(stored.model.parameters(), wide.model.parameters(), strict=True):
        assert torch.equal(one.float(), other)
    assert wide.dtype_reason == (
        f"computing in float32, not in {dtype} as the weights are: this CPU has no instructions for {dtype}"
    )
    assert wide.fingerprint() == stored.fingerprint() == fingerprint_weights(stored.model)


def test_a_type_that_the_processor_computes_in_or_that_was_asked_for_stays(processor, half):
    folder, dtype = half
    processor("amx")
    assert load_model(str(folder), device="cpu").model.dtype == getattr(torch, dtype)
    processor("old")
    asked = load_model(str(folder), device="cpu", dtype=dtype)
    assert (asked.model.dtype, asked.dtype_reason) == (getattr(torch, dtype), "")


def test_weights_stay_as_they_are_where_memory_does_not_allow_more(processor, half, monkeypatch):
    folder, dtype = half
    processor("old")
    monkeypatch.setattr(compute_type, "available_memory", lambda device: 1000)
    kept = load_model(str(folder), device="cpu")
    assert kept.model.dtype == getattr(torch, dtype)
    assert kept.dtype_reason.startswith(f"computing in {dtype}, as the weights are, slowly")


def test_the_file_and_the_output_say_that_another_type_was_computed_in(processor, half, tmp_path):
    folder, dtype = half
    processor("old")
    said = []
    shared = {"model": str(folder), "length": 64, "train_len": 32, "device": "cpu"}
    evaluate_checkpoint(EvaluateConfig(**shared, out=tmp_path / "e.h5", trials=0), said.append)
    capture_checkpoint(CaptureConfig(**shared, out=tmp_path / "c.h5"))
    reason = (
        f"computing in float32, not in {dtype} as the weights are: this CPU has no instructions for {dtype}"
    )
    assert said[0] == reason
    for name in ("e.h5", "c.h5"):
        with open_capture(tmp_path / name) as file:
            assert (file.attrs["dtype"], file.attrs["dtype_reason"]) == ("float32", reason)
    processor("amx")
    read_flagged(tmp_path / "c.h5").check_model(load_model(str(folder), device="cpu"))

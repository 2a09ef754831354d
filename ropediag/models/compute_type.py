"""The type that a model computes in: half precision only on a device that has instructions for it.

Without them a CPU computes in bfloat16 or float16 step by step, many times slower than in float32. This is
the one place that decides; every choice comes with its reason, for the output and for the file.
"""

from typing import Any

import torch

from ropediag.models.memory import available_memory, weight_bytes

HALF = {torch.bfloat16: "bf16", torch.float16: "fp16"}  # and what names their instructions
FREE_SHARE = 0.5  # of the free memory that wider weights may take; the rest is for the passes


def cpu_instructions(dtype: torch.dtype) -> tuple[str, ...]:
    """List this CPU's instructions for a type of half precision, such as ``avx512_bf16``; empty if none."""
    mark = HALF[dtype]
    if hasattr(torch.cpu, "get_capabilities"):  # torch 2.13
        known = torch.cpu.get_capabilities()
    else:
        tests = {"avx512_bf16": "_is_avx512_bf16_supported", "amx_fp16": "_is_amx_fp16_supported"}
        tests["amx_bf16"] = "_is_amx_tile_supported"  # every CPU that has tiles multiplies bfloat16 in them
        known = {name: getattr(torch.cpu, test, lambda: False)() for name, test in tests.items()}
    return tuple(sorted(name for name, there in known.items() if mark in name and there is True))


def training_device() -> torch.device:
    """Return the device that training runs on: CUDA if there is one, or else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def training_type(weights: str = "float32") -> tuple[str, str]:
    """Choose what training computes in: bfloat16 where its device has instructions for it, or float32.

    Parameters
    ----------
    weights : their type, ``float32`` or ``bfloat16``; those in bfloat16 are computed with as they are

    Returns
    -------
    The type's name, and the reason in words
    """
    device = training_device()
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else "this CPU"
    found = cpu_instructions(torch.bfloat16) if device.type == "cpu" else ()
    if found or (device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)):
        named = f" ({', '.join(found)})" if found else ""
        return "bfloat16", f"{where} has instructions for it{named}"
    missing = f"{where} has no bfloat16 instructions"
    missing += " (avx512_bf16 or amx_bf16)" if device.type == "cpu" else ""
    if weights == "bfloat16":
        return weights, f"the type of the weights; slow, because {missing}"
    return "float32", missing


def widen_weights(model: Any) -> str:
    """Turn half-precision weights on a CPU without instructions for them into float32, if memory allows.

    Every value stays as it is; only later arithmetic is in float32. Quantized weights are left alone.

    Parameters
    ----------
    model : on the CPU; changed in place

    Returns
    -------
    What was done, or could not be, in words; empty where the weights are computed with as they are
    """
    dtype = next(model.parameters()).dtype
    if dtype not in HALF or cpu_instructions(dtype) or getattr(model, "is_quantized", False):
        return ""
    name = str(dtype).removeprefix("torch.")
    more, free = weight_bytes(model), available_memory(torch.device("cpu"))
    if more > FREE_SHARE * free:
        return (
            f"computing in {name}, as the weights are, slowly: this CPU has no instructions for it, and "
            f"float32 takes {more / 2**30:.1f} GiB more, while {free / 2**30:.1f} GiB are free"
        )
    model.float()
    model.config.dtype = torch.float32
    return f"computing in float32, not in {name} as the weights are: this CPU has no instructions for {name}"

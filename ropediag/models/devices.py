"""Models spread over several devices, parts of them on disk until they run (transformers' ``device_map``)."""

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from ropediag.models.ranks import whole_value


def input_device(model: Any) -> torch.device:
    """Where token ids go: the device on which the model's first part computes."""
    first = next(model.parameters()).device
    if first.type != "meta":
        return first
    hooks = (getattr(module, "_hf_hook", None) for module in model.modules())
    places = (getattr(hook, "execution_device", None) for hook in hooks)
    return torch.device(next(place for place in places if place is not None))


def open_parameters(model: Any, names: list[str] | None = None) -> Iterator[tuple[str, Tensor]]:
    """Give names and values of all parameters; one that lies on disk is in memory while it is looked at."""
    for name in names or [name for name, _ in model.named_parameters()]:
        path, _, last = name.rpartition(".")
        module = model.get_submodule(path)
        with _in_memory(module) if hasattr(module, "_hf_hook") else nullcontext():
            yield name, whole_value(getattr(module, last))


def _in_memory(module: Any) -> Any:
    from accelerate.utils import align_module_device

    return align_module_device(module)

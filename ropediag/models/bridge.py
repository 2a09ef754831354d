"""The transformers model under a TransformerLens bridge, for captures and interventions.

A bridge puts components of its own around the parts of a model, and attends in Python, in eager mode. What
it wraps is still there: for the time of a block the parts are put back in their places, so that the model
is again what transformers made, and ropediag's tap hears it as any other, on every architecture and without
length x length where the model's attention needs none.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ropediag.errors import ModelError
from ropediag.models.devices import input_device
from ropediag.models.kind import vocabulary_size
from ropediag.models.load import LoadedModel, check_finite

_TOKENS = 16  # of the text on which bridge and model must agree
_TOLERANCE = 1e-3  # of the largest logit; a bridge adds in another order


def is_bridge(model: Any) -> bool:
    """Whether this is a TransformerBridge; TransformerLens is not loaded to tell."""
    names = {f"{kind.__module__.split('.')[0]}.{kind.__name__}" for kind in type(model).__mro__}
    return "transformer_lens.TransformerBridge" in names


@contextmanager
def borrow_model(model: Any, tokenizer: Any | None, name: str | None) -> Iterator[LoadedModel]:
    """Open a model in memory for a run, in evaluation mode; it is left as it was.

    Parameters
    ----------
    model : a transformers model, or a TransformerBridge
    tokenizer : of the model, None if it has none
    name : what to call it; its config's name or type if None

    Raises
    ------
    ModelError
        If a weight is not finite, or as ``native_model``.
    """
    name = name or model_name(model)
    with native_model(model) as native:
        check_finite(name, native)
        mode = native.training
        try:
            yield LoadedModel(native.eval(), tokenizer, Path(name).name, None)
        finally:
            native.train(mode)


def model_name(model: Any) -> str:
    """Return the name that the config of a model states, or its type."""
    config = model.original_model.config if is_bridge(model) else model.config
    return Path(getattr(config, "name_or_path", "") or config.model_type).name


@contextmanager
def native_model(model: Any) -> Iterator[Any]:
    """Give the transformers model: the one under a bridge, put together again for the block, or ``model``.

    Within the block the hook points of the bridge are silent, and the bridge too runs the model as it is.

    Raises
    ------
    ModelError
        If the model does not give the bridge's logits: hooks of the bridge change what passes.
    """
    if not is_bridge(model):
        yield model
        return
    native = model.original_model
    ids = torch.arange(_TOKENS, device=input_device(native))[None]
    ids = ids % vocabulary_size(native)
    with torch.no_grad():
        bridged = model(ids, return_type="logits")
    swapped = _put_back(native)
    try:
        with torch.no_grad():
            own = native(input_ids=ids, use_cache=False).logits
        if not torch.allclose(own, bridged, rtol=0, atol=_TOLERANCE * float(own.abs().max())):
            raise ModelError(
                f"the model under this bridge is not what the bridge computes (logits differ by up to "
                f"{float((own - bridged).abs().max()):.2g}): a hook of it changes what passes, or its "
                "weights were processed. Remove its hooks (reset_hooks), boot it anew, or pass its model."
            )
        yield native
    finally:
        for parent, name, component in swapped:
            parent._modules[name] = component


def _put_back(model: nn.Module) -> list[tuple[nn.Module, str, nn.Module]]:
    """Replace every component by what it wraps; list where they were."""
    swapped = []
    for parent in _walk(model):
        for name, child in list(parent._modules.items()):
            if child is None or "_original_component" not in child._modules:
                continue
            swapped.append((parent, name, child))
            inner: nn.Module | None = child
            while inner is not None and "_original_component" in inner._modules:
                inner = inner._modules["_original_component"]
            parent._modules[name] = inner
    return swapped


def _walk(model: nn.Module) -> Iterator[nn.Module]:
    """All modules, each before its children, as these are by the time they are reached."""
    waiting, seen = [model], set()
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            yield module
            waiting.extend(child for child in module._modules.values() if child is not None)

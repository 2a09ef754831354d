"""GPT-J, CodeGen, GPT-NeoX-Japanese: attention is a method ``_attn`` of the module."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

PARAMETERS = ["self", "query", "key", "value", "attention_mask"]


def attends(module: nn.Module) -> bool:
    """Whether this module attends in a method ``_attn`` of its own."""
    method = getattr(type(module), "_attn", None)
    calls = "_attn" in inspect.unwrap(type(module).forward).__code__.co_names
    return calls and method is not None and list(inspect.signature(method).parameters) == PARAMETERS


@contextmanager
def listen(module: nn.Module, wrap: Callable[..., Any]) -> Iterator[None]:
    """Let ``wrap`` stand for the module's attention within the block."""
    own: Any = module._attn

    def original(_module, query, key, value, attention_mask=None):
        output, weights = own(query, key, value, attention_mask)
        return output.transpose(1, 2), weights

    def method(query, key, value, attention_mask=None):
        output, weights = wrap(original)(module, query, key, value, attention_mask)
        return output.transpose(1, 2), weights

    vars(module)["_attn"] = method
    try:
        yield
    finally:
        del vars(module)["_attn"]

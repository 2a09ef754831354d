"""Falcon: the module's forward calls torch's scaled_dot_product_attention itself."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode


def attends(module: nn.Module) -> bool:
    """Whether this module calls torch's attention in its own ``forward``."""
    names = inspect.unwrap(type(module).forward).__code__.co_names
    config: Any = getattr(module, "config", None)
    return "scaled_dot_product_attention" in names and getattr(config, "_attn_implementation", None) == "sdpa"


@contextmanager
def listen(module: nn.Module, wrap: Callable[..., Any]) -> Iterator[None]:
    """Let ``wrap`` stand for torch's attention within the module's ``forward``."""
    own = module.forward

    class Heard(TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), options=None):
            if function is not scaled_dot_product_attention:
                return function(*args, **(options or {}))
            query, key, value = args
            rest = {name: given for name, given in options.items() if name != "attn_mask"}

            def original(_module, query, key, value, mask=None):
                return function(query, key, value, attn_mask=mask, **rest).transpose(1, 2), None

            return wrap(original)(module, query, key, value, options.get("attn_mask"))[0].transpose(1, 2)

    def forward(*args: Any, **options: Any) -> Any:
        with Heard():
            return own(*args, **options)

    vars(module)["forward"] = forward
    try:
        yield
    finally:
        del vars(module)["forward"]

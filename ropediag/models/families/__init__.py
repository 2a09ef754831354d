"""Attention outside transformers' registry: one file for each way, found by scanning this folder.

A file has two functions. ``attends(module)`` says whether the module attends in this way. ``listen(module,
wrap)`` is a context manager; in it the module attends through ``wrap(original)``, where ``original(module,
query, key, value, mask)`` does what the module would have done, as the functions in the registry do: it
takes (batch, head, position, head_dim) after the rotation and returns (batch, position, head, value_dim) and
weights or None.
"""

import pkgutil
from functools import cache
from importlib import import_module
from types import ModuleType

from torch import nn


def find_family(module: nn.Module) -> ModuleType | None:
    """The file of this folder whose way a module attends in."""
    return next((family for family in _families() if family.attends(module)), None)


@cache
def _families() -> tuple[ModuleType, ...]:
    return tuple(import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__))

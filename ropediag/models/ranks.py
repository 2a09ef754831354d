"""Tensor parallel: several processes, each with some heads of every layer.

torchrun starts one process a device; transformers gives each its slice of the weights by the model's own
plan (``base_model_tp_plan``). All run the same passes, meet in every layer, and hold the same logits.
"""

import os
from dataclasses import dataclass
from typing import Any, TypeVar

import torch.distributed as dist
from torch import Tensor

from ropediag.errors import ModelError

Thing = TypeVar("Thing")


@dataclass(frozen=True)
class Ranks:
    """Which of the processes this is that share the heads of a model.

    Attributes
    ----------
    rank : 0 is the first, which writes the file
    size : how many there are
    """

    rank: int = 0
    size: int = 1

    def own(self, heads: tuple[int, ...], count: int) -> list[int]:
        """Of these heads of a layer, those of this process, counted from its first; it has ``count``."""
        first = self.rank * count
        return [head - first for head in heads if first <= head < first + count]

    def gather(self, mine: Thing) -> list[Thing]:
        """What all hold, in order, on the first; an empty list on the others."""
        if self.size == 1:
            return [mine]
        found: list[Any] | None = [None] * self.size if self.rank == 0 else None
        dist.gather_object(mine, found)
        return found or []

    def tell(self, mine: Thing) -> Thing:
        """What the first holds, on all."""
        if self.size == 1:
            return mine
        told: list[Any] = [mine]
        dist.broadcast_object_list(told)
        return told[0]


ALONE = Ranks()


def launched() -> int:
    """How many processes torchrun started, 1 without it."""
    return int(os.environ.get("WORLD_SIZE", 1))


def is_first() -> bool:
    """Whether this is the process that speaks for all."""
    return int(os.environ.get("RANK", 0)) == 0


def find_ranks(model: Any) -> Ranks:
    """Say which process of how many this is for a model, loaded with transformers' tensor parallelism or not.

    Raises
    ------
    ModelError
        If other processes run than those that share the model.
    """
    size = getattr(model, "tp_size", None) or 1
    if size == 1:
        return ALONE
    if size != dist.get_world_size():
        raise ModelError(
            f"the model's heads are shared out among {size} processes, and {dist.get_world_size()} run: a "
            "capture wants all of them for one copy of the model."
        )
    return Ranks(dist.get_rank(), size)


def check_division(config: Any, processes: int) -> None:
    """Refuse a number of processes that does not divide the heads of a model.

    Raises
    ------
    ModelError
    """
    queries, keys = _head_counts(config)
    if queries % processes or keys % processes:
        raise ModelError(
            f"{processes} processes cannot share {queries} query heads and {keys} key heads evenly: take a "
            "number that divides both, or --device map in one process."
        )


def check_shares(model: Any, ranks: Ranks, query_heads: int, kv_heads: int) -> None:
    """Refuse a plan that does not give each process an equal share of the heads.

    Raises
    ------
    ModelError
    """
    stated = _head_counts(model.config)
    found = query_heads * ranks.size, kv_heads * ranks.size
    if ranks.size > 1 and found != stated:
        raise ModelError(
            f"{model.config.model_type}: one of {ranks.size} processes has {query_heads} query heads and "
            f"{kv_heads} key heads, no equal shares of {stated[0]} and {stated[1]}. Take a number of "
            "processes that divides both, or --device map in one process."
        )


def _head_counts(config: Any) -> tuple[int, int]:
    """Query heads and key heads of a layer."""
    part = config.get_text_config()
    queries = part.num_attention_heads
    return queries, getattr(part, "num_key_value_heads", None) or queries


def whole_value(value: Tensor) -> Tensor:
    """A parameter as it is, put together from all processes if each holds a slice; all must ask."""
    return value.full_tensor() if hasattr(value, "full_tensor") else value


def leave() -> None:
    """End this process's part in the group that loading began, with all others."""
    if dist.is_available() and dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()

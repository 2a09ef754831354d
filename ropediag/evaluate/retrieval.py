"""Recall by length and depth: how often a model finds again what stands far back in its context.

Every answer is scored in one pass over its prompt: it counts if the model ranks each of its tokens first,
all before it given, which is what it would write without sampling. No cache, and logits only where answers
are.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from ropediag.evaluate.prompts import MakePrompt, Prompts, make_prompts
from ropediag.models.devices import input_device
from ropediag.models.inputs import check_ids
from ropediag.models.loss import decode, rank_first

DEPTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
_TOKENS_A_PASS = 16_384


@dataclass(frozen=True, eq=False)
class Recall:
    """Recall of one task.

    Attributes
    ----------
    task : ``key-value``, ``passkey`` or ``needle``
    lengths : tokens of the prompts, rising
    depths : where the fact stands, 0 at the beginning to 1 right before the question
    hits, count : (length, depth) right answers and answers; a count is 0 where no prompt is that short
    lag : (length, depth) mean tokens from the answer back to what it repeats; NaN where count is 0
    chance : share that is right by guessing among what the prompt offers
    """

    task: str
    lengths: tuple[int, ...]
    depths: tuple[float, ...]
    hits: Int[np.ndarray, "length depth"]
    count: Int[np.ndarray, "length depth"]
    lag: Float[np.ndarray, "length depth"]
    chance: float


def recall_lengths(train_len: int, length: int) -> tuple[int, ...]:
    """List the training length and its doublings up to ``length``, and ``length`` itself."""
    lengths = {length}
    reach = train_len
    while reach <= length:
        lengths.add(reach)
        reach *= 2
    return tuple(sorted(lengths))


def measure_recall(
    model: Any,
    task: str,
    make: MakePrompt,
    lengths: tuple[int, ...],
    trials: int,
    seed: int,
    say: Callable[[str], None],
) -> Recall:
    """Measure recall over lengths and depths.

    Parameters
    ----------
    model : a causal language model
    task, make : name and maker of the prompts, from ``recall_tasks``
    lengths : tokens of the prompts
    trials : prompts at each length and depth
    seed : of the prompts
    say : told about each length

    Returns
    -------
    Recall

    Raises
    ------
    ConfigError
        If the tokenizer gives ids outside the model's vocabulary.
    """
    shape = (len(lengths), len(DEPTHS))
    hits, count = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    lag = np.full(shape, np.nan)
    asked = prompted = 0
    for row, length in enumerate(lengths):
        for column, depth in enumerate(DEPTHS):
            prompts = make_prompts(make, length, depth, trials, seed)
            if prompts is None:
                continue
            check_ids(prompts.ids, model)
            right, posed = score_prompts(model, prompts)
            hits[row, column], count[row, column] = right.sum(), posed.sum()
            lag[row, column] = prompts.lag[prompts.answer > 0].mean()
            asked, prompted = asked + int(posed.sum()), prompted + trials
        if count[row].any():
            say(f"recall of {task}, {length:,} tokens: {hits[row].sum()} of {count[row].sum()}")
    # Of the values in a prompt's key-value line a blind guess takes each once: one answer in each prompt.
    chance = prompted / asked if task == "key-value" and asked else 0.0
    return Recall(task, lengths, DEPTHS, hits, count, lag, chance)


def score_prompts(
    model: Any, prompts: Prompts
) -> tuple[Bool[np.ndarray, "prompt answer"], Bool[np.ndarray, "prompt answer"]]:
    """Score each answer of each prompt.

    Returns
    -------
    right, posed : (prompt, answer)
        Whether the model ranks every token of the answer first, and whether the prompt has that answer.
    """
    start = int(np.flatnonzero(prompts.answer.any(axis=0))[0])
    batch = max(1, _TOKENS_A_PASS // prompts.ids.shape[1])
    first = [
        _guess(model, prompts.ids[place : place + batch], start - 1)
        for place in range(0, len(prompts.ids), batch)
    ]
    wrong = np.concatenate(first) != prompts.ids[:, start:]
    numbers = np.arange(1, prompts.answer.max() + 1)[:, None]
    belongs = prompts.answer[:, None, start:] == numbers  # (prompt, answer, position)
    posed = belongs.any(axis=-1)
    return posed & ~(belongs & wrong[:, None]).any(axis=-1), posed


def _guess(model: Any, ids: np.ndarray, start: int) -> np.ndarray:
    input_ids = torch.from_numpy(ids).to(input_device(model))
    return rank_first(model, decode(model, input_ids), start)[:, :-1]

"""Recall prompts: a fact at a chosen depth of a chosen length, and at the end a question that asks for it.

Three tasks. *key-value*: the lines of ``ropediag.tune.recall`` amid text, for models whose tokens are bytes;
each prompt asks two to four queries. *passkey*: a five-digit number in a monotonous text (Mohtashami and
Jaggi 2023, arXiv:2305.16300). *needle*: a number for a word in the text that was read, in the manner of
Hsieh et al. 2024, arXiv:2404.06654. The answer stands in the prompt, so one pass says whether the model
would have given it, token by token. NumPy only.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int

from ropediag.text import tokenize
from ropediag.tune.recall import MARK, MAX_PAIRS, recall_window

LINES = 2 * (MARK + 2 * MAX_PAIRS + 1)  # bytes of both key-value lines at their longest
PASSKEY_OPENING = (
    "There is an important info hidden inside a lot of irrelevant text. Find it and memorize it. I will quiz "
    "you about the important information there.\n"
)
MONOTONY = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again.\n"
_NONE = np.zeros(0, dtype=np.int64)  # no leading special tokens
NEEDLE_WORDS = ("copper", "harbour", "lantern", "meadow", "orchard", "violin", "window", "winter")


@dataclass(frozen=True, eq=False)
class Prompts:
    """Prompts of one length with the places of their answers.

    Attributes
    ----------
    ids : (prompt, position) int64, token ids
    answer : (prompt, position) int64, number of the answer that the token belongs to, from 1; 0 elsewhere
    lag : (prompt, position) int64, tokens from there back to what it repeats; 0 where answer is 0
    """

    ids: Int[np.ndarray, "prompt position"]
    answer: Int[np.ndarray, "prompt position"]
    lag: Int[np.ndarray, "prompt position"]


MakePrompt = Callable[[np.random.Generator, int, float], tuple[np.ndarray, np.ndarray, np.ndarray] | None]


def make_prompts(make: MakePrompt, length: int, depth: float, trials: int, seed: int) -> Prompts | None:
    """Make ``trials`` prompts of exactly ``length`` tokens.

    Parameters
    ----------
    make : one of the makers that ``recall_tasks`` gives
    length : tokens, the answer included
    depth : where the fact stands: 0 at the beginning, 1 right before the question
    trials : how many prompts
    seed : the same seed, length and depth give the same prompts

    Returns
    -------
    Prompts, or None if the fact and the question take more than ``length`` tokens
    """
    made = []
    for trial in range(trials):
        prompt = make(np.random.default_rng([seed, length, round(1000 * depth), trial]), length, depth)
        if prompt is None:
            return None
        made.append(prompt)
    ids, answer, lag = (np.stack(parts) for parts in zip(*made, strict=True))
    return Prompts(ids, answer, lag)


def recall_tasks(
    tokenizer: Any | None,
    vocabulary: int,
    text: Int[np.ndarray, " token"],
    leading: Int[np.ndarray, " leading"] = _NONE,
) -> dict[str, MakePrompt]:
    """Choose the tasks a model can be given: name -> maker.

    Parameters
    ----------
    tokenizer : the model's, None for no task at all
    vocabulary : size of the model's
    text : token ids to hide facts in; with ``leading``, at least as many as the longest prompt
    leading : special tokens with which each prompt begins
    """
    probe = "#set aBcD\né"
    known = [] if tokenizer is None else tokenize(probe, tokenizer).tolist()
    if not known:  # transformers makes empty tokenizers for some models that come without one
        return {}
    if vocabulary == 256 and known == list(probe.encode()):
        return {"key-value": lambda rng, length, depth: key_value_prompt(rng, text, length, depth)}
    return {
        "passkey": lambda rng, length, depth: passkey_prompt(rng, tokenizer, length, depth, leading),
        "needle": lambda rng, length, depth: needle_prompt(rng, tokenizer, text, length, depth, leading),
    }


def key_value_prompt(
    rng: np.random.Generator, text: Int[np.ndarray, " token"], length: int, depth: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Put the line with the keys at ``depth`` and the line that asks for them at the end, text elsewhere."""
    room = length - LINES
    if room < 0:
        return None
    gap = round((1 - depth) * room)
    before = _cut(rng, text, room - gap)
    ids, lag = recall_window(rng, text.astype(np.uint8), LINES + gap, gap)
    lag = np.concatenate([np.zeros_like(before), lag])
    return np.concatenate([before, ids]), np.cumsum(lag > 0) * (lag > 0), lag


def passkey_prompt(
    rng: np.random.Generator, tokenizer: Any, length: int, depth: float, leading: np.ndarray = _NONE
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Hide a five-digit number in a monotonous text."""
    key = str(rng.integers(10_000, 100_000))
    return _compose(
        tokenizer,
        leading,
        opening=PASSKEY_OPENING,
        haystack=lambda tokens: np.resize(tokenize(MONOTONY, tokenizer), tokens),
        fact=f"The pass key is {key}. Remember it. {key} is the pass key.\n",
        question="What is the pass key? The pass key is",
        answer=key,
        length=length,
        depth=depth,
    )


def needle_prompt(
    rng: np.random.Generator,
    tokenizer: Any,
    text: Int[np.ndarray, " token"],
    length: int,
    depth: float,
    leading: np.ndarray = _NONE,
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Hide a seven-digit number, said to belong to a word, in the text that was read."""
    key, word = str(rng.integers(1_000_000, 10_000_000)), rng.choice(NEEDLE_WORDS)
    return _compose(
        tokenizer,
        leading,
        opening="A special magic number is hidden in the following text. Remember it.\n",
        haystack=lambda tokens: _cut(rng, text, tokens),
        fact=f"\nThe special magic number for {word} is {key}.\n",
        question=f"\nWhat is the special magic number for {word}? The special magic number for {word} is",
        answer=key,
        length=length,
        depth=depth,
    )


def _compose(
    tokenizer: Any,
    leading: np.ndarray,
    opening: str,
    haystack: Callable[[int], np.ndarray],
    fact: str,
    question: str,
    answer: str,
    length: int,
    depth: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Join the parts of a prompt; the haystack fills it to exactly ``length`` tokens."""
    head, middle, asked = (tokenize(part, tokenizer) for part in (opening, fact, question))
    head = np.concatenate([leading, head])
    tail = tokenize(f"{question} {answer}", tokenizer)
    kept = int(
        np.argmin(np.append(asked, -1)[: len(tail)] == tail[: len(asked) + 1])
    )  # tokens before the answer
    room = length - len(head) - len(middle) - len(tail)
    if room < 0:
        return None
    hay, before = haystack(room), round(depth * room)
    ids = np.concatenate([head, hay[:before], middle, hay[before:], tail])
    place = np.arange(length)
    number = (place >= length - len(tail) + kept).astype(np.int64)
    return ids, number, number * (place[number > 0][0] - len(head) - before)


def _cut(rng: np.random.Generator, text: np.ndarray, length: int) -> np.ndarray:
    """Cut ``length`` tokens of the text at a random place."""
    start = int(rng.integers(0, text.size - length + 1))
    return text[start : start + length]

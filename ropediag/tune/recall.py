"""Recall windows: key-value lines and the queries that they answer, in windows of text.

A window holds a line that sets some keys and, further on, a line that asks for them again, in another
order::

    #set qTaFmB
    ...text...
    #get aFqTmB

A key is a lowercase letter and its value the uppercase letter after it, drawn at random, so an answer
can only be read off what came before: a guess among the values shown is right once in ``pairs``. Tokens
are bytes. Windows to measure with ask for each key once; windows to train with may ask several rounds,
each in a new order, which gives a small model many answers to learn from. Everything here is NumPy;
``measure`` scores a model on these windows.
"""

from dataclasses import dataclass

import numpy as np

from ropediag.errors import ConfigError

MIN_PAIRS = 2
MAX_PAIRS = 4  # keys in one line; with up to ten, a small model still guessed after 14,000 windows
MARK = 5  # bytes of "#set " and of "#get "
MIN_LENGTH = 2 * (MARK + 2 * MIN_PAIRS + 1)  # tokens: both lines at their shortest


@dataclass(frozen=True)
class RecallWindows:
    """Windows with the places of their answers.

    Attributes
    ----------
    ids : (window, position) int64 array, byte values
    lag : (window, position) int64 array, tokens
        Where an answer stands: its distance to the same value in the defining line. 0 elsewhere.
    """

    ids: np.ndarray
    lag: np.ndarray

    @property
    def answers(self) -> np.ndarray:
        """(window, position) boolean array: True where a token is an answer."""
        return self.lag > 0


def make_recall_windows(
    text: np.ndarray, length: int, windows: int, seed: int, gap: int | None = None
) -> RecallWindows:
    """Make windows of recall lines amid text.

    Parameters
    ----------
    text : (byte,) array of byte values, at least ``length`` of them
        What fills a window before, between and after the two lines.
    length : int, tokens, at least 20
    windows : int
    seed : int
    gap : int, tokens, optional
        Bytes of text between the two lines, the same in every window; drawn anew for each by default.

    Raises
    ------
    ConfigError
        If two pairs, their queries and the gap do not fit in ``length``, or the text is too short.
    """
    if text.size < length:
        raise ConfigError(
            f"the text has {text.size} bytes, and recall windows of {length} are filled from it: pass more."
        )
    made = [
        recall_window(np.random.default_rng([seed, window]), text, length, gap) for window in range(windows)
    ]
    return RecallWindows(np.stack([ids for ids, _ in made]), np.stack([lag for _, lag in made]))


def recall_window(
    rng: np.random.Generator, text: np.ndarray, length: int, gap: int | None = None, repeat: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Make one window: its ids and the lag of each answer, both (position,) int64.

    The number of pairs, the room between the lines and their place in the window are drawn uniformly
    from what fits. The second line asks for every key once, or with ``repeat`` for several rounds: half
    the time as many as fit. An answer's lag leads to the first line, whatever the round.
    """
    room = length - MIN_LENGTH - (gap or 0)
    if room < 0:
        raise ConfigError(
            f"a recall window of {length} tokens is too short for two pairs, their queries and a gap of "
            f"{gap or 0}: it takes {MIN_LENGTH + (gap or 0)} tokens."
        )
    pairs = int(rng.integers(MIN_PAIRS, min(MAX_PAIRS, MIN_PAIRS + room // 4) + 1))
    shown = 2 * pairs + MARK + 1
    rounds = 1
    if repeat:
        most = (length - shown - MARK - 1 - (gap or 0)) // (2 * pairs)
        rounds = most if rng.random() < 0.5 else int(rng.integers(1, most + 1))
    keys = rng.permutation(26)[:pairs] + ord("a")
    values = rng.integers(0, 26, pairs) + ord("A")
    order = np.concatenate([rng.permutation(pairs) for _ in range(rounds)])

    spare = length - shown - (2 * order.size + MARK + 1)
    between = int(rng.integers(0, spare + 1)) if gap is None else gap
    before = int(rng.integers(0, spare - between + 1))
    parts = [
        _filler(rng, text, before),
        _line(b"#set ", keys, values),
        _filler(rng, text, between),
        _line(b"#get ", keys[order], values[order]),
        _filler(rng, text, spare - between - before),
    ]

    lag = np.zeros(length, dtype=np.int64)
    defined = before + MARK + 1 + 2 * order
    asked = before + shown + between + MARK + 1 + 2 * np.arange(order.size)
    lag[asked] = asked - defined
    return np.concatenate(parts).astype(np.int64), lag


def _line(mark: bytes, keys: np.ndarray, values: np.ndarray) -> np.ndarray:
    pairs = np.stack([keys, values], axis=1).astype(np.uint8).tobytes()
    return np.frombuffer(mark + pairs + b"\n", dtype=np.uint8)


def _filler(rng: np.random.Generator, text: np.ndarray, length: int) -> np.ndarray:
    """Cut ``length`` bytes of text at a random place, the last of them a line's end."""
    if length == 0:
        return text[:0]
    start = int(rng.integers(0, text.size - length + 1))
    filler = text[start : start + length].copy()
    filler[-1] = ord("\n")
    return filler

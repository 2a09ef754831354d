"""What a capture is asked to do, checked on construction, before any model loads."""

import json
import math
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ropediag.checkpoint import flags_of
from ropediag.errors import ConfigError
from ropediag.theory.phases import ALL, OWN, PhaseSpec

if TYPE_CHECKING:
    AnyPath = Path  # what a field holds once the configuration is made
    AnyPaths = tuple[Path, ...]
else:
    AnyPath = Path | str  # what it may be given
    AnyPaths = Sequence[Path | str] | Path | str
LENGTH_UNITS = {"k": 1024, "m": 1024**2}
MOST_INDEX = 100_000  # no model has as many layers or heads; a range is written out in memory


@dataclass(frozen=True)
class CaptureConfig:
    """One capture of one model.

    Attributes
    ----------
    model : checkpoint directory, hub id, or ``demo`` for the bundled model
    length : tokens per sequence, at least 2
    out : the file to write; None for ``captures/NAME-LENGTH.h5``
    revision : branch, tag or commit on the hub
    text : text files or folders; none for the bundled held-out text
    bos : whether sequences, and windows of them, begin with the tokenizer's leading special tokens; if None,
        as the tokenizer begins a text
    tokens : a ``.npy`` file of token ids, instead of text
    sequences : how many token sequences
    layers, heads : which layers and query heads; None for all
    device, dtype, attention : as for ``load_model``
    chunk : positions that feed-forward parts and norms take at a time; None for a number by device
    rows : how many queries of each sequence are sampled for what has no exact sum
    seed : seed of the choice of text and of sampled queries
    train_len, tune_len, pretrain_base : lengths of pretraining and tuning and base of pretraining, where the
        checkpoint does not say
    phases : all phases of training, oldest first, in place of what the checkpoint says
    keep_qk : (layer, query head) whose queries and keys are kept at every position
    store_tokens : write the token ids and their text
    excess : also measure the loss in windows as long as the longest sequences of training
    force : replace an existing capture
    resume : go on with a capture that was interrupted
    allow_pickle : read pickled weights
    """

    model: str
    length: int
    out: AnyPath | None = None
    revision: str | None = None
    text: AnyPaths = ()
    tokens: AnyPath | None = None
    sequences: int = 1
    layers: tuple[int, ...] | None = None
    heads: tuple[int, ...] | None = None
    device: str = "auto"
    dtype: str = "auto"
    attention: str | None = None
    chunk: int | None = None
    rows: int = 32
    seed: int = 0
    train_len: int | None = None
    tune_len: int | None = None
    pretrain_base: float | None = None
    phases: tuple[PhaseSpec, ...] = ()
    keep_qk: tuple[tuple[int, int], ...] = ()
    bos: bool | None = None
    store_tokens: bool = True
    excess: bool = True
    force: bool = False
    resume: bool = False
    allow_pickle: bool = False

    def __post_init__(self) -> None:
        settle_paths(self)
        check_run(self)
        check_least(self, "rows", 1, "sampled queries of each sequence")
        check_least(self, "chunk", 1, "positions at a time")
        for name in ("layers", "heads"):
            if getattr(self, name) == ():
                raise ConfigError(f"{name} must name at least one, or be None for all: got none.")
        if self.force and self.resume:
            raise ConfigError("give force (begin anew) or resume (go on), not both.")

    def recipe(self) -> str:
        """The fields that decide the numbers, as JSON; two captures with equal recipes measure the same."""
        fields = asdict(self)
        for name in ("out", "force", "resume", "device", "chunk", "allow_pickle"):
            fields.pop(name)
        return json.dumps(fields, default=str, sort_keys=True)


def settle_paths(config: Any) -> None:
    """Turn paths that were given as strings into ``Path``: a single text too, and all of a list.

    Raises
    ------
    ConfigError
        If one is neither a string nor a path.
    """
    for name in {"out", "tokens", "capture"} & {field.name for field in fields(config)}:
        value = getattr(config, name)
        if value is not None:
            object.__setattr__(config, name, _as_path(name, value))
    text = config.text
    texts = (text,) if isinstance(text, str | os.PathLike) else tuple(text or ())
    object.__setattr__(config, "text", tuple(_as_path("text", each) for each in texts))


def _as_path(name: str, value: Any) -> Path:
    if not isinstance(value, str | os.PathLike):
        raise ConfigError(f"{name} must be a path or a string: got {value!r}.")
    return Path(value)


def check_run(config: Any) -> None:
    """Check what every run of a model is told: length, text, seed, data type, training, the file to write.

    Raises
    ------
    ConfigError
    """
    check_least(config, "length", 2, "tokens per sequence; a lag needs two")
    check_least(config, "sequences", 1, "token sequences")
    check_least(config, "seed", 0, "the seed")
    check_least(config, "train_len", 2, "tokens per sequence in pretraining")
    check_least(config, "tune_len", 2, "tokens per sequence in tuning")
    flags_of(config)
    if config.pretrain_base is not None and not 1 < config.pretrain_base < math.inf:
        raise ConfigError(f"pretrain_base must be above 1 and finite: got {config.pretrain_base}.")
    if config.dtype not in ("auto", "float32", "bfloat16", "float16"):
        raise ConfigError(f"dtype must be auto, float32, bfloat16 or float16: got {config.dtype}.")
    if config.text and config.tokens is not None:
        raise ConfigError("give text or tokens, not both: each alone says what the model reads.")
    if config.out is not None and config.out.suffix != ".h5":
        raise ConfigError(f"the file to write must be named *.h5: got {config.out}.")


def check_least(config: Any, name: str, least: int, meaning: str) -> None:
    """Refuse a field that is given, and below ``least`` or too large for the file."""
    value = getattr(config, name)
    if value is not None and value < least:
        raise ConfigError(f"{name} must be at least {least} ({meaning}): got {value}.")
    if value is not None and value >= 2**63:
        raise ConfigError(f"{name} must be below 2^63, to fit the file ({meaning}): got {value}.")


def parse_length(text: str) -> int:
    """Read a number of tokens: ``8192``, ``65_536``, ``1e5``, or ``8k`` and ``1M``, where k is 1,024.

    Raises
    ------
    ConfigError
        If the text is not a whole number, with or without a suffix.
    """
    stripped = text.strip()
    number, unit = stripped, 1
    for suffix, tokens in LENGTH_UNITS.items():
        if stripped.lower().endswith(suffix):
            number, unit = stripped[:-1], tokens
    try:
        whole = int(number) if unit > 1 or "e" not in number.lower() else _whole(float(number))
    except (ValueError, OverflowError):
        raise ConfigError(
            f"{text!r} is not a number of tokens: write a whole number, such as 8192, 8k (8,192) or 1e5."
        ) from None
    if whole * unit >= 2**63:
        raise ConfigError(f"{text!r} is more tokens than a file can count: write a smaller number.")
    return whole * unit


def _whole(value: float) -> int:
    if value != int(value):
        raise ValueError
    return int(value)


def parse_indices(text: str) -> tuple[int, ...]:
    """Read ``0,2,5-7`` as (0, 2, 5, 6, 7).

    Raises
    ------
    ConfigError
        If a part is neither a whole number nor a rising range of two, below ``MOST_INDEX``.
    """
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        last = last if dash else first
        if not (first.isdecimal() and last.isdecimal() and int(first) <= int(last) < MOST_INDEX):
            raise ConfigError(f"expected indices such as 0,2,5-7: got {text!r}.")
        found.update(range(int(first), int(last) + 1))
    return tuple(sorted(found))


def parse_keep_qk(entries: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Read ``LAYERS:HEADS`` entries, each index list like ``0,2,5-7``, as (layer, query head) pairs."""
    kept: set[tuple[int, int]] = set()
    for entry in entries:
        layers, colon, heads = entry.partition(":")
        if not colon:
            raise ConfigError(f"expected LAYERS:HEADS such as 0-3:1 for the vectors to keep: got {entry!r}.")
        kept.update((layer, head) for layer in parse_indices(layers) for head in parse_indices(heads))
    return tuple(sorted(kept))


def parse_phase(text: str) -> PhaseSpec:
    """Read a phase as it is typed: ``len=8192,base=1e5,window=4096,rule={...},label=tuning``.

    Raises
    ------
    ConfigError
        If a part is unknown, given twice or of another kind, or there is no length.
    """
    found: dict[str, Any] = {"source": "--phase"}
    for part in _split_parts(text):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        key = "length" if name == "len" else name
        if not equals or key not in ("length", "base", "rule", "window", "label"):
            raise ConfigError(
                f"a phase is written len=8192,base=100000 (also window=, rule=, label=): got {part!r} in "
                f"{text!r}."
            )
        if key in found:
            raise ConfigError(f"{name} is given twice in the phase {text!r}.")
        if key == "length" or (key == "window" and value != ALL):
            found[key] = parse_length(value)
        elif key == "base":
            found[key] = _read_base(value)
        elif key == "rule" and value != OWN:
            found[key] = _read_rule(value)
        else:
            found[key] = value
    if "length" not in found:
        raise ConfigError(f"a phase needs its length, len=TOKENS: got {text!r}.")
    return PhaseSpec(**found)


def _split_parts(text: str) -> list[str]:
    """Split at commas outside braces and brackets."""
    parts, depth, current = [], 0, ""
    for letter in text:
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            parts.append(current)
            current = ""
        else:
            current += letter
    return [*parts, current]


def _read_base(text: str) -> float:
    try:
        return float(text.replace("_", ""))
    except ValueError:
        raise ConfigError(f"base of a training phase must be a number: got {text!r}.") from None


def _read_rule(text: str) -> Any:
    if re.fullmatch(r"\w+", text):
        raise ConfigError(
            f'rule of a training phase is JSON, such as {{"rope_type": "yarn", "factor": 4}}, or {OWN} '
            f"for the model's: got {text!r}."
        )
    try:
        return json.loads(text)
    except ValueError as error:
        raise ConfigError(f"rule of a training phase is not JSON: {error}. Got {text!r}.") from error

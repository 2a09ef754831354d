"""What an attribution is asked to do, checked on construction, before any model loads."""

import json
import math
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from ropediag.attribution.path import LEAST, MOST
from ropediag.config import (
    AnyPath,
    AnyPaths,
    CaptureConfig,
    check_least,
    check_run,
    parse_length,
    settle_paths,
)
from ropediag.errors import ConfigError
from ropediag.intervene.config import AT
from ropediag.theory.phases import PhaseSpec


@dataclass(frozen=True)
class AttributeConfig:
    """One attribution of one model: what its unseen angles cost, by layer, head, pair and lag.

    Attributes
    ----------
    model : checkpoint directory, hub id, or ``demo`` for the bundled model
    length : tokens per sequence
    kind : how the lags of the baseline are limited, ``clip`` or ``fold``
    at : multiple of each pair's trained reach at which they are; 0.85 for clip and 1 for fold if None
    layers, heads : which layers and query heads have gates; None for all
    positions : (first, one past the last) position of the tokens whose loss is split; from the smallest
        trained reach to the end if None
    stretches : parts of these positions that are split each for itself
    tolerance : share of the difference of the loss that the sum of all parts may miss
    points : most points of the path
    sequences : token sequences; intervals are over them
    out : the file to write; None to write none
    resume : go on with an attribution that was interrupted
    revision, text, bos, tokens, device, dtype, attention, seed, train_len, tune_len, pretrain_base, phases,
    force, allow_pickle : as in ``AblateConfig``
    """

    model: str
    length: int
    kind: str = "clip"
    at: float | None = None
    layers: tuple[int, ...] | None = None
    heads: tuple[int, ...] | None = None
    positions: tuple[int, int] | None = None
    stretches: int = 1
    tolerance: float = 0.02
    points: int = MOST + 1
    sequences: int = 4
    out: AnyPath | None = None
    resume: bool = False
    revision: str | None = None
    text: AnyPaths = ()
    tokens: AnyPath | None = None
    device: str = "auto"
    dtype: str = "auto"
    attention: str | None = None
    seed: int = 0
    train_len: int | None = None
    tune_len: int | None = None
    pretrain_base: float | None = None
    phases: tuple[PhaseSpec, ...] = ()
    bos: bool | None = None
    force: bool = False
    allow_pickle: bool = False

    def __post_init__(self) -> None:
        settle_paths(self)
        check_run(self)
        if self.kind not in AT:
            raise ConfigError(f"kind must be {' or '.join(AT)}: got {self.kind!r}.")
        if self.at is not None and not 0 < self.at < math.inf:
            raise ConfigError(f"at takes a multiple of the reach above 0, finite: got {self.at}.")
        for name in ("layers", "heads"):
            if getattr(self, name) == ():
                raise ConfigError(f"{name} must name at least one: got none.")
        check_least(self, "stretches", 1, "parts of the positions")
        check_least(self, "points", LEAST + 1, "points of the path")
        if not 0 < self.tolerance < 1:
            raise ConfigError(f"tolerance must be a share above 0 and below 1: got {self.tolerance}.")
        if self.positions is not None:
            first, stop = self.positions
            if not 1 <= first < stop <= self.length:
                raise ConfigError(
                    f"positions must rise from 1 on and end at {self.length:,} at most: got {first}:{stop}."
                )
        if self.resume and self.out is None:
            raise ConfigError("resume goes on with a file: name it with out.")
        if self.force and self.resume:
            raise ConfigError("give force (replace) or resume (go on), not both.")

    @property
    def multiple(self) -> float:
        """Multiple of the trained reach at which lags are limited."""
        return AT[self.kind] if self.at is None else self.at

    def recipe(self) -> str:
        """The fields that decide the numbers, as JSON; a run with an equal recipe can be resumed."""
        fields = asdict(self)
        for name in ("out", "force", "resume", "device", "allow_pickle", "tolerance", "points"):
            fields.pop(name)
        return json.dumps(fields, default=str, sort_keys=True)


def beside_capture(capture: CaptureConfig, length: int, out: Path) -> AttributeConfig:
    """Build the settings of an attribution that reads the model and the text of a capture.

    Parameters
    ----------
    capture : settings of the capture
    length : tokens per sequence
    out : the file to write

    Raises
    ------
    ConfigError
        If the run is spread over several processes, or a setting is out of range.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("an attribution runs in one process: leave --attribute out under torchrun.")
    shared = {field.name for field in fields(AttributeConfig)} & {field.name for field in fields(capture)}
    same = {name: getattr(capture, name) for name in shared - {"length", "out"}}
    return AttributeConfig(**same, length=length, out=out)


def parse_positions(text: str) -> tuple[int, int]:
    """Read ``FIRST:STOP``, two numbers of tokens.

    Raises
    ------
    ConfigError
        If the text has another form.
    """
    first, colon, stop = text.partition(":")
    if not (colon and first.strip() and stop.strip()):
        raise ConfigError(f"positions are written FIRST:STOP, such as 400:512: got {text!r}.")
    return parse_length(first), parse_length(stop)

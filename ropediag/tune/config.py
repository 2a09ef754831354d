"""What to pretrain: the settings of one run, checked before anything loads.

The defaults are the recipe of the bundled model, so ``ropediag pretrain --out DIR`` makes it again.
"""

import shlex
from dataclasses import dataclass, fields
from pathlib import Path

from ropediag.errors import ConfigError
from ropediag.tune.recall import MIN_LENGTH

HEAD_DIM = 64  # channels a head, all of them rotated


@dataclass(frozen=True)
class PretrainConfig:
    """Settings of one pretraining run.

    Attributes
    ----------
    out : Path
        Folder of the checkpoint; absent or empty, unless ``force``.
    text : tuple of Path
        UTF-8 files and folders to train on; none means the standard library list.
    length : int, tokens
        Training length: every window has exactly this many bytes.
    base : float, > 1
        RoPE base.
    layers, width, heads : int
        Shape of the model; a head has 64 channels, the feed-forward part is 2.75 times ``width``.
    steps, batch : int
        Optimiser steps, and windows a step.
    lr : float
        Highest learning rate: 100 steps of warm-up, then a cosine down to 5 % of it.
    recall_share : float, 0 to 1
        Share of the windows that hold key-value lines.
    seed : int, >= 0
        Of the weights and the windows. The same seed, versions and threads give the same weights.
    force : bool
        Write into ``out`` even if it holds files.

    Raises
    ------
    ConfigError
        On construction, at the first value that cannot be used.
    """

    out: Path
    text: tuple[Path, ...] = ()
    length: int = 128
    base: float = 10_000.0
    layers: int = 4
    width: int = 128
    heads: int = 2
    steps: int = 8_000
    batch: int = 16
    lr: float = 3e-3
    recall_share: float = 0.15
    seed: int = 0
    force: bool = False

    def __post_init__(self) -> None:
        for name, least in {"layers": 1, "width": 8, "heads": 1, "steps": 1, "batch": 1, "seed": 0}.items():
            if getattr(self, name) < least:
                raise ConfigError(f"{name} must be at least {least}: got {getattr(self, name)}.")
        if self.length < MIN_LENGTH:
            raise ConfigError(
                f"length must be at least {MIN_LENGTH} tokens, the room that two key-value pairs and their "
                f"queries take: got {self.length}."
            )
        if not self.base > 1 or self.base == float("inf"):
            raise ConfigError(f"base must be a number above 1: got {self.base}.")
        if not 0 < self.lr < 1:
            raise ConfigError(f"lr must be between 0 and 1: got {self.lr}.")
        if not 0 <= self.recall_share <= 1:
            raise ConfigError(f"recall_share must be between 0 and 1: got {self.recall_share}.")
        for path in self.text:
            if not path.exists():
                raise ConfigError(f"no such text: {path}. --text takes files and folders that exist.")
        if self.out.is_file():
            raise ConfigError(f"{self.out} is a file: --out names the folder of the checkpoint.")
        if not self.force and self.out.is_dir() and any(self.out.iterdir()):
            raise ConfigError(
                f"{self.out} is not empty: name another folder, or pass --force to write there."
            )

    @property
    def feed_forward(self) -> int:
        """Width of the feed-forward part, channels: 2.75 times ``width``, as a multiple of 8."""
        return 8 * round(2.75 * self.width / 8)

    @property
    def tokens(self) -> int:
        """Tokens that the run sees."""
        return self.steps * self.batch * self.length

    def command_line(self) -> str:
        """Write the command that repeats this run: the flags that differ from the defaults."""
        words = ["ropediag", "pretrain"]
        for field in fields(self):
            value = getattr(self, field.name)
            flag = "--" + field.name.replace("_", "-")
            if field.name == "force" or (field.name != "out" and value == field.default):
                continue
            for item in value if isinstance(value, tuple) else (value,):
                words += [flag, shlex.quote(str(item))]
        return " ".join(words)

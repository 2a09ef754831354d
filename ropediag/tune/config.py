"""What to pretrain: the settings of one run, checked before anything loads.

The defaults are the recipe of the bundled model, so ``ropediag pretrain --out DIR`` makes it again.
"""

import importlib.util
import shlex
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ropediag.config import AnyPath, AnyPaths, settle_paths
from ropediag.errors import ConfigError
from ropediag.store.guard import check_writable
from ropediag.tune.metadata import METADATA_NAME
from ropediag.tune.recall import MIN_LENGTH

FAMILIES = {"llama": "Llama", "qwen3": "Qwen3", "gpt_neox": "GPT-NeoX"}
PASSING = ("save_every", "report_to", "force", "resume")  # fields that leave no trace in the weights
REPORTERS = {  # name -> modules, one of which it takes, and what to install
    "tensorboard": (("tensorboard", "tensorboardX"), "tensorboard"),
    "wandb": (("wandb",), "wandb"),
    "mlflow": (("mlflow",), "mlflow"),
    "trackio": (("trackio",), "trackio"),
    "comet_ml": (("comet_ml",), "comet-ml"),
    "clearml": (("clearml",), "clearml"),
    "neptune": (("neptune",), "neptune"),
    "swanlab": (("swanlab",), "swanlab"),
    "dvclive": (("dvclive",), "dvclive"),
    "codecarbon": (("codecarbon",), "codecarbon"),
}


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
    family : str
        ``llama``; ``qwen3``, with a norm on queries and keys; ``gpt_neox``, whose heads rotate in part and
        share out ``width`` among them.
    layers, width, heads : int
        Shape of the model; the feed-forward part is 2.75 times ``width``.
    head_dim : int, even
        Channels of a head.
    partial_rotary_factor : float, above 0, at most 1
        Share of each head that is rotated; less than 1 takes ``gpt_neox``.
    steps, batch : int
        Optimiser steps, and windows a step.
    lr : float
        Highest learning rate: 100 steps of warm-up, then a cosine down to 5 % of it.
    recall_share : float, 0 to 1
        Share of the windows that hold key-value lines.
    seed : int, >= 0
        Of the weights and the windows. The same seed, versions and threads give the same weights.
    save_every : int or None, >= 1
        Steps between checkpoints to go on from; None for none.
    report_to : tuple of str
        Where the Trainer logs to as well: names of ``REPORTERS``. TensorBoard's files lie in ``out/runs``.
    force, resume : bool
        Write into ``out`` even if it holds files; go on with a run that was interrupted.

    Raises
    ------
    ConfigError
        On construction, at the first value that cannot be used.
    """

    out: AnyPath
    text: AnyPaths = ()
    length: int = 128
    base: float = 10_000.0
    family: str = "llama"
    layers: int = 4
    width: int = 128
    heads: int = 2
    head_dim: int = 64
    partial_rotary_factor: float = 1.0
    steps: int = 8_000
    batch: int = 16
    lr: float = 3e-3
    recall_share: float = 0.15
    seed: int = 0
    save_every: int | None = None
    report_to: tuple[str, ...] = ()
    force: bool = False
    resume: bool = False

    def __post_init__(self) -> None:
        settle_paths(self)
        check_run(self)
        for name, least in {"layers": 1, "width": 8, "heads": 1}.items():
            if getattr(self, name) < least:
                raise ConfigError(f"{name} must be at least {least}: got {getattr(self, name)}.")
        if self.head_dim < 2 or self.head_dim % 2:
            raise ConfigError(
                f"head_dim must be even and at least 2, for two channels turn together: got {self.head_dim}."
            )
        _check_shape(self)
        if self.length < MIN_LENGTH:
            raise ConfigError(
                f"length must be at least {MIN_LENGTH} tokens, the room that two key-value pairs and their "
                f"queries take: got {self.length}."
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
        return write_command("pretrain", self)

    def settings(self) -> dict[str, Any]:
        """What a run that goes on must share with the one it goes on from."""
        return read_settings(self)


def _check_shape(config: PretrainConfig) -> None:
    """Refuse what a family cannot be."""
    family, share = config.family, config.partial_rotary_factor
    if family not in FAMILIES:
        raise ConfigError(f"family must be one of {', '.join(FAMILIES)}: got {family!r}.")
    rotated = share * config.head_dim
    if not 0 < share <= 1 or rotated != int(rotated) or rotated % 2:
        raise ConfigError(
            f"partial_rotary_factor must leave an even number of a head's {config.head_dim} channels, at "
            f"most all: got {share:g}."
        )
    if family != "gpt_neox" and share != 1:
        raise ConfigError(f"a {family} rotates whole heads; partial_rotary_factor takes family gpt_neox.")
    if config.width % config.heads:
        raise ConfigError(
            f"width must be a multiple of heads, as transformers demands: got {config.width} channels and "
            f"{config.heads} heads."
        )
    if family == "gpt_neox" and config.heads * config.head_dim != config.width:
        raise ConfigError(
            f"the heads of a gpt_neox share out its width: {config.heads} x {config.head_dim} channels are "
            f"not {config.width}."
        )


def check_run(config: Any) -> None:
    """Check what pretraining and tuning have in common.

    Raises
    ------
    ConfigError
    CaptureError
        If the folder cannot be written to.
    """
    least_steps = 1 if isinstance(config, PretrainConfig) else 0
    for name, least in {"steps": least_steps, "batch": 1, "seed": 0, "save_every": 1}.items():
        value = getattr(config, name)
        if value is not None and value < least:
            raise ConfigError(f"{name} must be at least {least}: got {value}.")
    if config.base is not None and not 1 < config.base < float("inf"):
        raise ConfigError(f"base must be a number above 1: got {config.base}.")
    if not 0 < config.lr < 1:
        raise ConfigError(f"lr must be between 0 and 1: got {config.lr}.")
    if config.recall_share is not None and not 0 <= config.recall_share <= 1:
        raise ConfigError(f"recall_share must be between 0 and 1: got {config.recall_share}.")
    _check_reporters(config.report_to)
    for path in config.text:
        if not path.exists():
            raise ConfigError(f"no such text: {path}. --text takes files and folders that exist.")
    if config.out.is_file():
        raise ConfigError(f"{config.out} is a file: --out names the folder of the checkpoint.")
    if not (config.force or config.resume) and _holds_files(config.out):
        raise ConfigError(
            f"{config.out} is not empty: name another folder, go on with an interrupted run with --resume, "
            "or write there with --force."
        )
    check_writable(config.out / METADATA_NAME)


def _holds_files(folder: Path) -> bool:
    """Check whether there is any file below; a run that was stopped may leave empty folders."""
    return any(not path.is_dir() for path in folder.rglob("*"))


def _check_reporters(names: tuple[str, ...]) -> None:
    """Refuse a reporter that is not known or whose package is not installed."""
    for name in names:
        if name not in REPORTERS:
            raise ConfigError(f"report_to must be one of {', '.join(REPORTERS)}: got {name!r}.")
        modules, package = REPORTERS[name]
        if not any(importlib.util.find_spec(module) for module in modules):
            raise ConfigError(f"--report-to {name} needs its package: pip install {package}.")


def write_command(name: str, config: Any, **flags: str) -> str:
    """Write the command that repeats a run: the flags that differ from the defaults.

    ``flags`` names those of fields whose flag is not the field's own name.
    """
    words = ["ropediag", name]
    for field in fields(config):
        value = getattr(config, field.name)
        flag = "--" + flags.get(field.name, field.name).replace("_", "-")
        if field.name in PASSING or (field.name != "out" and value == field.default):
            continue
        if isinstance(value, bool):
            words.append(flag if value else flag.replace("--", "--no-", 1))
            continue
        for item in value if isinstance(value, tuple) else (value,):
            words += [flag, shlex.quote(str(item))]
    return " ".join(words)


def read_settings(config: Any) -> dict[str, Any]:
    """Collect the fields that shape the weights."""
    return {
        field.name: getattr(config, field.name)
        for field in fields(config)
        if field.name not in (*PASSING, "out")
    }

"""What to tune: the settings of one run, checked before anything loads."""

from dataclasses import dataclass
from typing import Any

from ropediag.config import AnyPath, AnyPaths, settle_paths
from ropediag.errors import ConfigError
from ropediag.rope_parameters import RULES
from ropediag.theory.phases import PhaseSpec
from ropediag.tune.config import check_run, read_settings, write_command


@dataclass(frozen=True)
class TuneConfig:
    """Settings of one tuning run.

    Attributes
    ----------
    model : str
        Checkpoint directory, hub id, or ``demo`` for the bundled model.
    out : Path
        Folder of the tuned checkpoint; absent or empty, unless ``force`` or ``resume``.
    base : float or None, > 1
        The new RoPE base; None keeps the model's.
    scaling, factor : str and float, > 1, or None
        A scaling rule (linear, ntk, dynamic, yarn, llama3) and its factor.
    length : int or None, tokens
        Tuning length; None for the model's training length.
    text : tuple of Path
        UTF-8 files and folders to train on; none means the standard library list, for byte-level models.
    bos : bool or None
        Whether windows begin with the tokenizer's leading special tokens; None for as it begins a text.
    steps, batch, accumulate : int
        Optimiser steps, windows a step, and the backward passes that make up one. No steps: the RoPE changes,
        the weights do not.
    lr : float
        Highest learning rate: a tenth of the steps of warm-up, then a cosine down to 5 % of it.
    recall_share : float or None, 0 to 1
        Share of the windows that hold key-value lines; None for as many as in the model's own training.
    seed : int, >= 0
        Of the windows.
    train_len, pretrain_base : int and float, or None
        Length and base of pretraining, where the checkpoint does not say.
    phases : tuple of PhaseSpec
        All phases before this run, oldest first, in place of what the checkpoint says.
    dtype : str
        Of the weights while they are trained; computation is in bfloat16 where the device has instructions
        for it.
    gradient_checkpointing : bool
        Trade time for memory.
    lora : int or None
        Rank of low-rank updates, merged into the weights at the end; None updates all weights.
    fsdp : bool
        Shard over the processes of ``torchrun``.
    save_every, report_to, force, resume
        As in ``PretrainConfig``.

    Raises
    ------
    ConfigError
        On construction, at the first value that cannot be used.
    """

    model: str
    out: AnyPath
    base: float | None = None
    scaling: str | None = None
    factor: float | None = None
    length: int | None = None
    text: AnyPaths = ()
    bos: bool | None = None
    steps: int = 300
    batch: int = 16
    accumulate: int = 1
    lr: float = 1e-3
    recall_share: float | None = None
    seed: int = 0
    train_len: int | None = None
    pretrain_base: float | None = None
    phases: tuple[PhaseSpec, ...] = ()
    dtype: str = "float32"
    gradient_checkpointing: bool = False
    lora: int | None = None
    fsdp: bool = False
    save_every: int | None = None
    report_to: tuple[str, ...] = ()
    force: bool = False
    resume: bool = False

    def __post_init__(self) -> None:
        settle_paths(self)
        check_run(self)
        for name, least in {"length": 2, "accumulate": 1, "train_len": 2, "lora": 1}.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"{name} must be at least {least}: got {value}.")
        if self.pretrain_base is not None and not self.pretrain_base > 1:
            raise ConfigError(f"pretrain_base must be a number above 1: got {self.pretrain_base}.")
        if (self.scaling is None) != (self.factor is None):
            raise ConfigError("--scaling and --factor go together: pass both or neither.")
        if self.scaling is not None and self.scaling not in RULES:
            raise ConfigError(f"scaling must be one of {', '.join(RULES)}: got {self.scaling!r}.")
        if self.factor is not None and not 1 < self.factor < float("inf"):
            raise ConfigError(f"factor must be a number above 1: got {self.factor}.")
        if self.steps == 0 and self.base is None and self.scaling is None:
            raise ConfigError("0 steps change nothing but RoPE: pass --base, or --scaling and --factor.")
        if self.lora is not None and self.fsdp:
            raise ConfigError("give --lora or --fsdp, not both: low-rank updates are small enough unsharded.")
        if self.dtype not in ("float32", "bfloat16"):
            raise ConfigError(f"dtype must be float32 or bfloat16: got {self.dtype!r}.")

    def command_line(self) -> str:
        """Write the command that repeats this run: the flags that differ from the defaults."""
        return write_command("tune", self, length="len", phases="phase")

    def settings(self) -> dict[str, Any]:
        """What a run that goes on must share with the one it goes on from."""
        return read_settings(self)

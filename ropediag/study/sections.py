"""The sections of a study's YAML: parents, grid, tuning, evaluation, capture; checked on construction."""

from dataclasses import dataclass, replace
from pathlib import Path

from ropediag.errors import ConfigError
from ropediag.rope_parameters import RULES
from ropediag.tune.config import PretrainConfig
from ropediag.tune.tune_config import TuneConfig

NAME_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._")


@dataclass(frozen=True)
class Checkpoint:
    """A parent that exists, and what it may not say of its own pretraining.

    Attributes
    ----------
    model : as ``--model`` takes it
    train_len, pretrain_base : length and base of pretraining; None where the checkpoint says
    """

    model: str
    train_len: int | None = None
    pretrain_base: float | None = None

    def __post_init__(self) -> None:
        if self.train_len is not None and self.train_len < 2:
            raise ConfigError(f"parent {self.model}: train_len must be at least 2: got {self.train_len}.")
        if self.pretrain_base is not None and not self.pretrain_base > 1:
            raise ConfigError(
                f"parent {self.model}: pretrain_base must be above 1: got {self.pretrain_base}."
            )

    @property
    def name(self) -> str:
        """The last part of what it is called."""
        return Path(self.model).name


@dataclass(frozen=True)
class Pretraining:
    """A parent that the study pretrains itself, once; what is tuned from it goes on with its text.

    Attributes
    ----------
    name : of its cell, and of its folder in the study's ``parents``
    run : how; its ``out`` is set by ``plan``
    heldout : files or folders that its cells are measured on; none for the text of the evaluation. Like the
        ``text`` of ``run`` relative to where the study is run; absolute on a cluster of several machines
    """

    name: str
    run: PretrainConfig
    heldout: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        if not self.name or not set(self.name) <= NAME_LETTERS or self.name.startswith("."):
            raise ConfigError(f"a parent's name holds letters, digits, -, . and _: got {self.name!r}.")

    def plan(self, folder: Path) -> PretrainConfig:
        """The run that makes it in the folder of the study; it goes on from what an interrupted one left."""
        return replace(self.run, out=folder / "parents" / self.name, resume=True)


Parent = str | Checkpoint | Pretraining


def parent_name(parent: Parent) -> str:
    """What a parent's cells are named after."""
    return Path(parent).name if isinstance(parent, str) else parent.name


@dataclass(frozen=True)
class Scaling:
    """A scaling rule, as in ``TuneConfig``."""

    rule: str
    factor: float

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ConfigError(f"a scaling rule is one of {', '.join(RULES)}: got {self.rule!r}.")
        if not 1 < self.factor < float("inf"):
            raise ConfigError(f"the factor of a scaling rule must be a number above 1: got {self.factor}.")


@dataclass(frozen=True)
class Grid:
    """Bases and scaling rules to tune with, each at every length; and rules to apply without tuning.

    Attributes
    ----------
    bases : above 1
    reaches : multiples of the parent's training length that bases are to reach, by the law without its
        ceiling; takes parents that state their pretraining
    lengths : tuning lengths, tokens; may be left out with ``reaches``: the parent's training length
    scaling : rules, each with the parent's own base
    untrained : rules that go into the parent's config, its weights staying as they are; need no lengths
    evaluate_at : tokens that its models are evaluated at, instead of what ``evaluate`` makes of the limit
    """

    bases: tuple[float, ...] = ()
    lengths: tuple[int, ...] = ()
    scaling: tuple[Scaling, ...] = ()
    reaches: tuple[float, ...] = ()
    evaluate_at: int | None = None
    untrained: tuple[Scaling, ...] = ()

    def __post_init__(self) -> None:
        if not (self.bases or self.scaling or self.reaches or self.untrained):
            raise ConfigError("an entry of a study's grid needs bases, reaches, scaling or untrained.")
        if not self.lengths and (self.bases or self.scaling) and not self.reaches:
            raise ConfigError("an entry of a study's grid needs lengths, unless it has reaches.")
        for reach in self.reaches:
            if not 1 < reach < float("inf"):
                raise ConfigError(f"a reach in a study's grid must be a number above 1: got {reach}.")
        for base in self.bases:
            if not 1 < base < float("inf"):
                raise ConfigError(f"a base in a study's grid must be above 1: got {base}.")
        for length in self.lengths:
            if length < 2:
                raise ConfigError(f"a tuning length in a study's grid must be at least 2: got {length}.")
        if self.evaluate_at is not None and self.evaluate_at < 2:
            raise ConfigError(f"evaluate_at in a study's grid must be at least 2: got {self.evaluate_at}.")


@dataclass(frozen=True)
class Tuning:
    """How every cell is tuned: ``tokens`` of text a step, so that all lengths see as much.

    The other fields are those of ``TuneConfig``. With ``fsdp`` a cell runs under torchrun, one process for
    each GPU that it is given.
    """

    steps: int = 300
    tokens: int = 2048
    lr: float = 1e-3
    text: tuple[Path, ...] = ()
    accumulate: int = 1
    recall_share: float | None = None
    dtype: str = "float32"
    gradient_checkpointing: bool = False
    lora: int | None = None
    fsdp: bool = False

    def __post_init__(self) -> None:
        if self.steps < 1 or self.tokens < 1:
            raise ConfigError(
                f"tune: steps and tokens must be at least 1: got {self.steps} and {self.tokens}."
            )
        try:
            TuneConfig(
                model="parent",
                out=Path("cells") / "parent",
                force=True,
                lr=self.lr,
                accumulate=self.accumulate,
                recall_share=self.recall_share,
                dtype=self.dtype,
                lora=self.lora,
                fsdp=self.fsdp,
            )
        except ConfigError as error:
            raise ConfigError(f"tune: {error}") from error


@dataclass(frozen=True)
class Evaluation:
    """How far every cell is measured, and on what.

    Attributes
    ----------
    sequences : held-out sequences, the replicates of the intervals
    least : shortest length, tokens
    reach : the length is at least this multiple of the predicted limit
    text : files or folders; none for the bundled held-out text
    trials : recall prompts at each length and depth; 0 for no recall
    """

    sequences: int = 16
    least: int = 2048
    reach: float = 3.0
    text: tuple[Path, ...] = ()
    trials: int = 8

    def __post_init__(self) -> None:
        if self.sequences < 2:
            raise ConfigError(f"evaluate: sequences must be at least 2, for intervals: got {self.sequences}.")
        if self.least < 2 or not self.reach > 1:
            raise ConfigError(
                f"evaluate: least must be at least 2 and reach above 1: got {self.least} and {self.reach}."
            )
        if self.trials < 0:
            raise ConfigError(f"evaluate: trials must be at least 0: got {self.trials}.")


@dataclass(frozen=True)
class Capturing:
    """How every cell is captured, on the text of the evaluation.

    Attributes
    ----------
    length : tokens; or None, with ``reach``
    reach : the length is this multiple of the predicted limit (of the longest trained length without one)
    sequences, rows : as in ``CaptureConfig``
    """

    length: int | None = None
    reach: float | None = None
    sequences: int = 1
    rows: int = 32

    def __post_init__(self) -> None:
        if (self.length is None) == (self.reach is None):
            raise ConfigError("capture: give length or reach, one of the two.")
        if self.length is not None and self.length < 2:
            raise ConfigError(f"capture: length must be at least 2: got {self.length}.")
        if self.reach is not None and not 1 < self.reach < float("inf"):
            raise ConfigError(f"capture: reach must be a number above 1: got {self.reach}.")
        if self.sequences < 1 or self.rows < 1:
            raise ConfigError(
                f"capture: sequences and rows must be at least 1: got {self.sequences} and {self.rows}."
            )

"""What an ablation is asked to do, checked on construction, before any model loads."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from ropediag.config import AnyPath, AnyPaths, check_least, check_run, parse_indices, settle_paths
from ropediag.errors import ConfigError
from ropediag.intervene.intervention import KINDS, Intervention, Pairs, Place
from ropediag.theory.phases import PhaseSpec

WORDS = ("past", "before", "all", "flagged")
RANDOM = 8  # random sets, where no number is given and there are other sets to draw


@dataclass(frozen=True)
class AblateConfig:
    """One intervention on one model, and what it repairs.

    Attributes
    ----------
    model : checkpoint directory, hub id, or ``demo`` for the bundled model
    length : tokens per sequence, above the training length
    kind : of the intervention, see ``Intervention``
    pairs : ``past`` or ``before`` the critical pair, ``all``, ``flagged`` by the analysis of ``capture``, or
        a list of pairs; if None, ``past``, or ``all`` for ``log``
    limit, factor, base : what the kind needs; the limit of ``clip`` is the longer of training
        and tuning length, - 1, if None
    layers, heads : which layers and query heads; None for all
    capture : the capture whose drifting pairs are meant by ``flagged``
    random : random sets of equal size to compare with; if None, 8, or 0 where there is no other set
    search : look for a smallest set that repairs this share of the damage; None for no search
    trials : recall prompts at each length and depth, with and without the intervention; 0 for no recall
    out : the file to write; None to write none
    revision, text, bos, tokens, sequences, device, dtype, attention, seed, train_len, tune_len,
    pretrain_base, phases, force, allow_pickle : as in ``EvaluateConfig``; the seed is also that of the random
        sets
    """

    model: str
    length: int
    kind: str = "clip"
    pairs: str | tuple[int, ...] | None = None
    limit: int | None = None
    factor: float | None = None
    base: float | None = None
    layers: tuple[int, ...] | None = None
    heads: tuple[int, ...] | None = None
    capture: AnyPath | None = None
    random: int | None = None
    search: float | None = None
    trials: int = 0
    out: AnyPath | None = None
    revision: str | None = None
    text: AnyPaths = ()
    tokens: AnyPath | None = None
    sequences: int = 8
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
        check_least(self, "random", 0, "random sets")
        check_least(self, "trials", 0, "recall prompts at each length and depth")
        if self.search is not None and not 0 < self.search <= 1:
            raise ConfigError(f"search takes a share above 0, up to 1: got {self.search}.")
        if isinstance(self.pairs, str) and self.pairs not in WORDS:
            raise ConfigError(f"pairs must be {', '.join(WORDS)} or a list of pairs: got {self.pairs!r}.")
        for name in ("pairs", "layers", "heads"):
            if getattr(self, name) == ():
                raise ConfigError(f"{name} must name at least one: got none.")
        if (self.chosen == "flagged") != (self.capture is not None):
            raise ConfigError(
                "flagged pairs are those of a capture: give both --pairs flagged and --capture."
            )
        if self.draws == 0 and self.random:
            raise ConfigError("there is no random set beside all pairs: leave random out.")
        if self.kind == "log" and (self.chosen != "all" or self.search is not None):
            raise ConfigError("log scales whole logits: give it no pairs but all, and no search.")
        self.intervention(None, self.train_len or 2, self.train_len or 2)

    @property
    def chosen(self) -> str | tuple[int, ...]:
        """The pairs, or what is meant where none are given."""
        if self.pairs is None:
            return "all" if self.kind == "log" else "past"
        return self.pairs

    @property
    def draws(self) -> int:
        """Random sets to draw."""
        if self.chosen == "all":
            return 0
        return RANDOM if self.random is None else self.random

    def intervention(self, pairs: Mapping[Place, Pairs] | None, train_len: int, trained: int) -> Intervention:
        """Give the intervention on these pairs.

        Parameters
        ----------
        pairs : by (layer, query head)
        train_len : tokens per sequence in pretraining; what ``log`` scales from
        trained : the longer of it and the tuning length, tokens; lags below it are not clipped by default

        Raises
        ------
        ConfigError
            If the kind is unknown, or what it needs is missing or does not belong to it.
        """
        if self.kind not in KINDS:
            raise ConfigError(f"kind must be one of {', '.join(KINDS)}: got {self.kind!r}.")
        clip = self.kind == "clip" and self.limit is None
        return Intervention(
            self.kind,
            pairs=None if self.kind == "log" else pairs,
            layers=self.layers if self.kind == "log" else None,
            heads=self.heads if self.kind == "log" else None,
            limit=trained - 1 if clip else self.limit,
            factor=self.factor,
            base=self.base,
            train_len=train_len if self.kind == "log" else None,
        )

    def recipe(self) -> str:
        """The fields that decide the numbers, as JSON."""
        fields = asdict(self) | {"pairs": self.chosen}
        for name in ("out", "force", "device", "allow_pickle"):
            fields.pop(name)
        return json.dumps(fields, default=str, sort_keys=True)


def parse_pairs(text: str) -> str | tuple[int, ...]:
    """Read ``past``, ``before``, ``all``, ``flagged`` or indices such as ``12-15,20``.

    Raises
    ------
    ConfigError
    """
    if text in WORDS:
        return text
    try:
        return parse_indices(text)
    except ConfigError:
        raise ConfigError(
            f"pairs must be {', '.join(WORDS)}, or indices such as 12-15,20: got {text!r}."
        ) from None

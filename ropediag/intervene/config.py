"""What an ablation is asked to do, checked on construction, before any model loads."""

import json
import math
from dataclasses import asdict, dataclass

from ropediag.config import AnyPath, AnyPaths, check_least, check_run, parse_indices, settle_paths
from ropediag.errors import ConfigError
from ropediag.intervene.intervention import KINDS, LIMITED, Intervention
from ropediag.intervene.pair_set import PairSet
from ropediag.theory.phases import PhaseSpec

WORDS = ("past", "before", "all", "flagged")
RANDOM, OF_CURVE = 8, 2  # random sets where none are given: for one multiple of the reach, for several
AT = {"clip": 0.85, "fold": 1.0}  # of the trained reach, where nothing is given
MOST = 20  # multiples of the reach


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
    limit, factor, base : what the kind needs; without a limit, ``clip`` and ``fold`` go by the trained reach
    at : clip, fold: multiples of each pair's trained reach from which on its lag is limited; several give a
        curve. If empty, and without a limit, 0.85 for clip and 1 for fold
    layers, heads : which layers and query heads; None for all
    capture : the capture whose drifting pairs are meant by ``flagged``
    random : random sets of equal size to compare with, each at every multiple; if None, 8, with several
        multiples 2, or 0 where there is no other set
    search : look for a smallest set that repairs this share of the damage; None for no search
    knee : pairs that are let go, one after the other, while all others stay at 0.7 of their reach
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
    at: tuple[float, ...] = ()
    factor: float | None = None
    base: float | None = None
    layers: tuple[int, ...] | None = None
    heads: tuple[int, ...] | None = None
    capture: AnyPath | None = None
    random: int | None = None
    search: float | None = None
    knee: tuple[int, ...] = ()
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
        object.__setattr__(self, "at", tuple(self.at))
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
        if self.knee and not self.multiples:
            raise ConfigError(
                f"knee goes by the trained reach: give it with {' or '.join(LIMITED)}, no limit."
            )
        self._check_multiples()
        self.intervention(PairSet({}, {}), self.train_len or 2)

    def _check_multiples(self) -> None:
        if not self.at:
            return
        if self.kind not in LIMITED:
            raise ConfigError(f"at is for {' and '.join(LIMITED)}: got it for {self.kind}. Leave it out.")
        if self.limit is not None:
            raise ConfigError("at goes by each pair's reach and limit is one lag for all: give one of them.")
        for multiple in self.at:
            if not 0 < multiple < math.inf:
                raise ConfigError(f"at takes multiples of the reach above 0, finite: got {multiple}.")
        if len(self.at) > MOST:
            raise ConfigError(f"at takes up to {MOST} multiples of the reach: got {len(self.at)}.")
        if len(self.multiples) > 1 and (self.search is not None or self.trials):
            raise ConfigError("a search and recall go by one multiple of the reach: got several in at.")

    @property
    def multiples(self) -> tuple[float, ...]:
        """Multiples of the reach, that of a single number first; none where the kind does not go by it."""
        if self.kind not in LIMITED or self.limit is not None:
            return ()
        usual = AT[self.kind]
        return tuple(sorted(set(self.at) or {usual}, key=lambda multiple: (multiple != usual, multiple)))

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
        usual = OF_CURVE if len(self.multiples) > 1 else RANDOM
        return usual if self.random is None else self.random

    def intervention(self, chosen: PairSet, train_len: int, multiple: float | None = None) -> Intervention:
        """Give the intervention on these pairs.

        Parameters
        ----------
        chosen : the pairs, with their reaches where the intervention goes by them
        train_len : tokens per sequence in pretraining; what ``log`` scales from
        multiple : of the reach; the first of ``multiples`` if None

        Raises
        ------
        ConfigError
            If the kind is unknown, or what it needs is missing or does not belong to it.
        """
        if self.kind not in KINDS:
            raise ConfigError(f"kind must be one of {', '.join(KINDS)}: got {self.kind!r}.")
        if self.multiples:
            limits = chosen.limits(self.multiples[0] if multiple is None else multiple)
            return Intervention(self.kind, limits=limits, factor=self.factor, base=self.base)
        return Intervention(
            self.kind,
            pairs=None if self.kind == "log" else chosen.pairs,
            layers=self.layers if self.kind == "log" else None,
            heads=self.heads if self.kind == "log" else None,
            limit=self.limit,
            factor=self.factor,
            base=self.base,
            train_len=train_len if self.kind == "log" else None,
        )

    def recipe(self) -> str:
        """The fields that decide the numbers, as JSON."""
        fields = asdict(self) | {"pairs": self.chosen, "at": sorted(self.multiples)}
        for name in ("out", "force", "device", "allow_pickle"):
            fields.pop(name)
        return json.dumps(fields, default=str, sort_keys=True)


def parse_multiples(text: str) -> tuple[float, ...]:
    """Read multiples of the reach such as ``0.7,0.85,1``.

    Raises
    ------
    ConfigError
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"at takes multiples of the reach, such as 0.7,0.85,1: got {text!r}.") from None


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

"""What an intervention is asked to do, checked on construction, before a model is touched.

The kinds, on chosen pairs of chosen layers and query heads:

==============  ========================================================================
freeze          the pair keeps the angle of lag 0 at every lag: it does not rotate (NoPE)
zero            the pair adds nothing to the logit
clip            lags above a limit count as the limit
fold            lags above a limit L become a triangle wave between L / 2 and L
interpolate     angles are divided by ``factor`` (position interpolation, pair by pair)
rebase          the pair turns as plain RoPE of another ``base`` would turn it
log             all logits of the head grow with the logarithm of the position, past ``train_len``
==============  ========================================================================

The limit of ``clip`` and ``fold`` is one ``limit`` for all pairs, or one for each (``limits``), such as a
multiple of the pair's trained reach.

Freezing all pairs is NoPE (DroPE, arXiv:2512.12167, without its recalibration), freezing those whose period
exceeds the training length is what FoPE does to them (arXiv:2412.17739), freezing the slowest ones is p-RoPE
(arXiv:2410.06205).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ropediag.errors import ConfigError
from ropediag.rope import check_base

KINDS: dict[str, str | None] = {
    "clip": "limit",
    "fold": "limit",
    "freeze": None,
    "interpolate": "factor",
    "log": "train_len",
    "rebase": "base",
    "zero": None,
}  # kind -> the field it needs
LIMITED = tuple(kind for kind, needed in KINDS.items() if needed == "limit")  # kinds that limit lags
_OPTIONS = ("limit", "factor", "base", "train_len")

Pairs = tuple[int, ...]
Place = tuple[int, int]  # layer, query head
ByPair = Mapping[int, int | float]  # pair -> tokens


@dataclass(frozen=True)
class Intervention:
    """One change to what rotary pairs add to the logits.

    Attributes
    ----------
    kind : one of ``KINDS``
    pairs : the pairs, 0 the fastest, the same in each layer and head; or a mapping from (layer, query
        head) to pairs; None for all pairs, and for ``log``, which has none
    layers, heads : which layers and query heads; None for all. Not with a mapping, which names them
    limit : clip, fold: the longest lag, the same for all pairs; tokens, at least 0, for fold above it
    limits : clip, fold, in place of ``limit``: (layer, query head) -> pair -> its longest lag, which need not
        be whole; where it is infinite the pair is not changed. With it give no pairs, layers and heads
    factor : interpolate: what angles are divided by, above 0
    base : rebase: the other base
    train_len : log: tokens per sequence in pretraining, at least 2

    Raises
    ------
    ConfigError
        If the kind is unknown, what it needs is missing or out of range, or something is given that it
        does not use.
    """

    kind: str
    pairs: Sequence[int] | Mapping[Place, Sequence[int]] | None = None
    layers: Sequence[int] | None = None
    heads: Sequence[int] | None = None
    limit: int | float | None = None
    factor: float | None = None
    base: float | None = None
    train_len: int | None = None
    limits: Mapping[Place, ByPair] | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"kind must be one of {', '.join(KINDS)}: got {self.kind!r}.")
        self._check_options()
        if self.limits is not None:
            self._settle_limits(self.limits)
        for name in ("layers", "heads"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, check_indices(name, getattr(self, name)))
        if self.kind == "log" and self.pairs is not None:
            raise ConfigError("log scales whole logits, so it takes no pairs: leave them out.")
        if isinstance(self.pairs, Mapping):
            if self.layers is not None or self.heads is not None:
                raise ConfigError("pairs by (layer, head) name their layers and heads: give no others.")
            places = {place: check_indices("pairs", pairs) for place, pairs in self.pairs.items()}
            object.__setattr__(self, "pairs", places)
        elif self.pairs is not None:
            object.__setattr__(self, "pairs", check_indices("pairs", self.pairs))

    def _check_options(self) -> None:
        needed = KINDS[self.kind]
        if self.limits is not None and self.kind not in LIMITED:
            raise ConfigError(f"{self.kind} takes no limits: leave them out.")
        if self.limits is not None and self.limit is not None:
            raise ConfigError("limit is for all pairs and limits for each: give one of them.")
        for name in _OPTIONS:
            if name == needed == "limit" and self.limits is not None:
                continue
            if (getattr(self, name) is not None) != (name == needed):
                fault = "needs" if name == needed else "takes no"
                raise ConfigError(f"{self.kind} {fault} {name}: got {getattr(self, name)}.")
        if self.train_len is not None and self.train_len < 2:
            raise ConfigError(f"train_len must be at least 2 tokens: got {self.train_len}.")
        if self.limit is not None:
            self._check_limit(self.limit)
            if math.isinf(self.limit):
                raise ConfigError(f"limit must be finite: got {self.limit}. Name the pairs to leave alone.")
        if self.factor is not None and not 0 < self.factor < float("inf"):
            raise ConfigError(f"factor must be above 0 and finite: got {self.factor}.")
        if self.base is not None:
            check_base(self.base, "base")

    def _check_limit(self, limit: int | float) -> None:
        if not (limit > 0 or (limit == 0 and self.kind == "clip")):  # nor NaN
            least = "at least 0" if self.kind == "clip" else "above 0"
            raise ConfigError(f"the limit of {self.kind} must be {least} tokens: got {limit}.")

    def _settle_limits(self, limits: Mapping[Place, ByPair]) -> None:
        if not (self.pairs is None and self.layers is None and self.heads is None):
            raise ConfigError("limits name pairs, layers and heads: give no others.")
        settled: dict[Place, dict[int, float]] = {}
        for place, own in limits.items():
            for limit in own.values():
                self._check_limit(limit)
            finite = {pair: float(limit) for pair, limit in own.items() if math.isfinite(limit)}
            settled[place] = {pair: finite[pair] for pair in check_indices("pairs", finite)}
        object.__setattr__(self, "limits", settled)

    def describe(self) -> str:
        """Name the kind and its setting: ``clip, limit 127``."""
        if self.limits is not None:
            found = [limit for own in self.limits.values() for limit in own.values()]
            ends = (
                dict.fromkeys(f"{limit:,.0f}" for limit in (min(found), max(found))) if found else ("none",)
            )
            return f"{self.kind}, limits {' to '.join(ends)}"
        needed = KINDS[self.kind]
        return f"{self.kind}, {needed} {getattr(self, needed):,g}" if needed else self.kind


def check_indices(name: str, values: Iterable[int]) -> tuple[int, ...]:
    """Give sorted, distinct indices of 0 and more."""
    found = tuple(values)
    if not all(isinstance(value, int) and not isinstance(value, bool) and value >= 0 for value in found):
        raise ConfigError(f"{name} must be whole numbers of 0 and more: got {found}.")
    return tuple(sorted(set(found)))

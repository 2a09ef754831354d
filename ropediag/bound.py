"""What bounds one layer: the law that fits its frequencies, the limit it sets, the pair that breaks first.

The extended law holds for plain RoPE, the angle range for scaled frequencies, and a window bounds nothing.
Frequencies are radians per token, (pair,) arrays; lengths and periods are tokens; pair 0 turns fastest.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from ropediag import limits
from ropediag.checkpoint import Training
from ropediag.reach import is_plain
from ropediag.rope import check_base, pair_channels
from ropediag.rope_config import LayerRope
from ropediag.scaling import layer_inv_freq

Frequencies = Float[np.ndarray, " pair"]


@dataclass(frozen=True)
class UntrainedPair:
    """The first pair that training left untrained: ``coverage`` is the share of a turn it has seen."""

    pair: int
    channels: tuple[int, int]
    pretrain_period: float
    period: float
    coverage: float


@dataclass(frozen=True, eq=False)
class Bound:
    """Frequencies now and in pretraining, the limit in tokens (None: no bound of this kind), and its law."""

    now: Frequencies
    before: Frequencies
    limit: float | None
    law: str


def bound_layer(
    layer: LayerRope, training: Training, turns: float = 1.0, target_len: int | None = None
) -> Bound:
    """Find what bounds a layer.

    Parameters
    ----------
    turns : share of a turn that counts as trained, see ``limits``
    target_len : tokens, where rules that follow the length are taken; None for the training length

    Raises
    ------
    ConfigError
        If a number is out of range, or the rule is unknown or lacks a parameter.
    """
    check_base(training.pretrain_base, "pretrain_base")
    now, _ = layer_inv_freq(replace(layer, base=training.base), target_len)
    before, _ = layer_inv_freq(replace(layer, base=training.pretrain_base), scaled=False)
    limit, law = _limit(now, before, training, turns)
    if layer.window and (limit is None or limit >= layer.window):
        limit, law = None, f"no lag exceeds the window of {layer.window:,} tokens"
    return Bound(now, before, limit, law)


def _limit(
    now: Frequencies, before: Frequencies, training: Training, turns: float
) -> tuple[float | None, str]:
    """Apply the law that fits: the extended law to plain RoPE, the angle range to scaled frequencies."""
    base, tune_len = training.base, training.tune_len
    if not is_plain(now, base):
        limit = limits.angle_range_limit(now, before, training.train_len, turns)
        if limit is None:
            return None, "pretraining trained every pair that turns"
        if limit <= tune_len:
            return float(tune_len), "tuning length, under scaled frequencies"
        return (
            limit,
            "a pair untrained in pretraining leaves the angles it saw there, under scaled frequencies",
        )
    numbers = (2 * len(now), base, training.pretrain_base, training.train_len, tune_len, turns)
    limit = limits.extrapolation_limit(*numbers)
    if limit is None:
        return None, "training covered every pair"
    if limit > tune_len:
        return limit, "period of the first untrained pair under the tuned base (equation 16b)"
    if base == training.pretrain_base:
        return limit, "unmodified base: the training length"
    return limit, "base not above the critical base: the tuning length, a soft limit (equation 16c)"


def first_untrained(
    layer: LayerRope, layout: str, bound: Bound, training: Training, turns: float = 1.0
) -> UntrainedPair | None:
    """Find the first pair that neither pretraining nor tuning trained; None if there is none.

    Within a window nothing need break, so None too where it is the window that bounds the layer.
    """
    if bound.limit is None and layer.window:
        return None
    pretrained = training.train_len * bound.before / (2 * np.pi)  # turns seen in each stage
    tuned = training.tune_len * bound.now / (2 * np.pi)
    untrained = np.flatnonzero((pretrained < turns) & (tuned < turns) & (bound.now > 0))
    if not len(untrained):
        return None
    pair = int(untrained[0])
    channels = pair_channels(layout, 2 * len(bound.now), layer.head_dim, layer.offset)[pair]
    return UntrainedPair(
        pair=pair,
        channels=(int(channels[0]), int(channels[1])),
        pretrain_period=float(2 * np.pi / bound.before[pair]),
        period=float(2 * np.pi / bound.now[pair]),
        coverage=float(min(1.0, max(pretrained[pair], tuned[pair]))),
    )

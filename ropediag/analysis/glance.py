"""The first look at a capture: does it break, where, and where did theory say so?"""

from dataclasses import dataclass

import numpy as np

from ropediag.analysis.limit import MeasuredLimit, excess_at_multiples, measure_limit
from ropediag.limits import extrapolation_limit
from ropediag.store import Capture


@dataclass(frozen=True)
class Shift:
    """How one group of pairs' joint logit moves, over all layers and heads.

    Attributes
    ----------
    inside, beyond : mean over queries within and past the training length, logit
    largest : largest change of a single head's mean, in its own in-window standard deviations over keys
    """

    inside: float
    beyond: float
    largest: float


@dataclass(frozen=True)
class Glance:
    """Theory and measurement side by side.

    Attributes
    ----------
    critical_pair : first pair past the critical dimension in the layers that reach farthest
    predicted : the extrapolation law's limit, tokens; None if training covered every pair, or a base or
        the training length is not known
    measured : from the excess loss; None if the capture has no windowed loss or no training length
    excess : (multiple of the training length, mean excess there in nats), from ``limit.EXCESS_AT``
    before, past : the logit of the pairs before and past the critical one; None where no query is past
        the training length, or it is not known
    """

    critical_pair: int
    predicted: float | None
    measured: MeasuredLimit | None
    excess: tuple[tuple[float, float], ...]
    before: Shift | None
    past: Shift | None


def glance(capture: Capture) -> Glance:
    """Read the verdict of the loss and of the partial logits from a capture."""
    attributes = capture.attrs
    train_len = int(attributes.get("train_len") or 0)
    critical = capture["rope/critical_pair"].values
    pairs = np.isfinite(capture["rope/inv_freq"].values).sum(-1)
    widest = int(np.argmax(critical))
    base, pretrain_base = (float(attributes.get(name, np.nan)) for name in ("base", "pretrain_base"))
    predicted = None
    if train_len and np.isfinite([base, pretrain_base]).all():
        tune_len = int(attributes.get("tune_len") or 0) or None
        predicted = extrapolation_limit(2 * int(pairs[widest]), base, pretrain_base, train_len, tune_len)
    measured, excess = _read_excess(capture, train_len)
    return Glance(
        critical_pair=int(critical[widest]),
        predicted=predicted,
        measured=measured,
        excess=excess,
        before=_shift(capture, "before", train_len),
        past=_shift(capture, "past", train_len),
    )


def _read_excess(
    capture: Capture, train_len: int
) -> tuple[MeasuredLimit | None, tuple[tuple[float, float], ...]]:
    if not train_len or "loss/nll_windowed" not in capture:
        return None, ()
    excess = (capture["loss/nll"] - capture["loss/nll_windowed"]).values
    excess = excess[np.isfinite(excess[:, 1:]).all(1)]  # a partial capture may miss some
    if not len(excess):
        return None, ()
    measured = measure_limit(excess, train_len)
    return measured, excess_at_multiples(excess, train_len, measured.span)


def _shift(capture: Capture, side: str, train_len: int) -> Shift | None:
    mean, std = capture[f"partial/{side}_mean"], capture[f"partial/{side}_std"]
    beyond = mean.position_bin.values >= train_len
    if not beyond.any() or beyond.all():
        return None
    inside_mean = mean[..., ~beyond].mean("position_bin")
    change = abs(mean[..., beyond].mean("position_bin") - inside_mean) / std[..., ~beyond].mean(
        "position_bin"
    )
    return Shift(
        inside=float(inside_mean.mean()),
        beyond=float(mean[..., beyond].mean()),
        largest=float(change.mean("sequence").max()),
    )

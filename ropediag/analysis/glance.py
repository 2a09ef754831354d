"""The first look at a capture: does it break, where, and where did theory say so?"""

from dataclasses import dataclass

import numpy as np

from ropediag.analysis.limit import MeasuredLimit, excess_at_multiples, measure_limit
from ropediag.errors import ConfigError
from ropediag.store import Capture
from ropediag.theory.training import PredictedLimit, Training


@dataclass(frozen=True)
class Shift:
    """How one group of pairs' joint logit moves, over all layers and heads.

    Attributes
    ----------
    first, last : pairs of the group
    inside, beyond : mean over queries within and past the longest sequence of training, logit
    largest : largest change of a single head's mean, in its own in-window standard deviations over keys
    """

    first: int
    last: int
    inside: float
    beyond: float
    largest: float


@dataclass(frozen=True)
class Glance:
    """Theory and measurement side by side.

    Attributes
    ----------
    critical_pair : first pair without a full turn in training, in the layers that reach farthest; -1 where
        the training is not known
    predicted : the law's limit, tokens, and what sets it; None where the training is not known
    first_reach : smallest trained reach, tokens, a lower bound; None if there is none
    trained : longest sequence of training, tokens; 0 where it is not known
    measured : from the excess loss; None if the capture has no windowed loss or no training length
    excess : (multiple of the window of the windowed loss, mean excess there in nats)
    before, past : the logit of the pairs before and past the one that split them when they were measured;
        None where no query is past the training length, or it is not known
    stale : parts that were measured under another statement of training
    """

    critical_pair: int
    predicted: PredictedLimit | None
    first_reach: float | None
    trained: int
    measured: MeasuredLimit | None
    excess: tuple[tuple[float, float], ...]
    before: Shift | None
    past: Shift | None
    stale: tuple[str, ...]

    @property
    def predicted_limit(self) -> float | None:
        """The law's limit, tokens; None where it sets none, or the training is not known."""
        return self.predicted.value if self.predicted else None


def glance(capture: Capture) -> Glance:
    """Read the verdict of the loss and of the partial logits from a capture."""
    training = _find_training(capture)
    trained = max(phase.length for phase in training.phases) if training else 0
    measured, excess = _read_excess(capture, capture.window_len)
    return Glance(
        critical_pair=int(training.critical_pair().max()) if training else -1,
        predicted=training.predicted_limit() if training else None,
        first_reach=training.first_reach() if training else None,
        trained=trained,
        measured=measured,
        excess=excess,
        before=_shift(capture, "before", trained),
        past=_shift(capture, "past", trained),
        stale=capture.stale,
    )


def _find_training(capture: Capture) -> Training | None:
    try:
        return capture.training
    except ConfigError:  # its length is not stated
        return None


def _read_excess(
    capture: Capture, window: int
) -> tuple[MeasuredLimit | None, tuple[tuple[float, float], ...]]:
    if not window or "loss/nll_windowed" not in capture:
        return None, ()
    excess = (capture["loss/nll"] - capture["loss/nll_windowed"]).values
    excess = excess[np.isfinite(excess[:, 1:]).all(1)]  # a partial capture may miss some
    if not len(excess):
        return None, ()
    measured = measure_limit(excess, window)
    return measured, excess_at_multiples(excess, window, measured.span)


def _shift(capture: Capture, side: str, trained: int) -> Shift | None:
    mean, std = capture[f"partial/{side}_mean"], capture[f"partial/{side}_std"]
    beyond = mean.position_bin.values >= trained
    if not trained or not beyond.any() or beyond.all():
        return None
    inside_mean = mean[..., ~beyond].mean("position_bin")
    change = abs(mean[..., beyond].mean("position_bin") - inside_mean) / std[..., ~beyond].mean(
        "position_bin"
    )
    split = max(int(pair) for pair in capture.values("rope/critical_pair"))
    first, last = (0, split - 1) if side == "before" else (split, capture.sizes["pair"] - 1)
    return Shift(
        first=first,
        last=last,
        inside=float(inside_mean.mean()),
        beyond=float(mean[..., beyond].mean()),
        largest=float(change.mean("sequence").max()),
    )

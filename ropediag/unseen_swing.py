"""Unseen swing: how far a pair can leave what it showed in training, by the share of a turn it made there.

What a pair adds to a logit at a lag is a cosine of its angle, with an amplitude and a phase that the query
and the key give it. Training shows an arc of that cosine; the swing is how far the rest of it lies outside
the values on that arc, in amplitudes, mean over all phases. From a full turn on there is no rest. Short of it
the swing is small long before it is zero: after three quarters of a turn it is 0.050, after half a turn 0.36.
"""

import numpy as np
from jaxtyping import Float

from ropediag.errors import ConfigError

PHASES = 720
STEPS = 721  # points on an arc


def unseen_swing(turns: Float[np.ndarray, " share"], reach: float = np.inf) -> Float[np.ndarray, " share"]:
    """Compute the swing that training left unseen, amplitudes.

    Parameters
    ----------
    turns : that pairs made within the training length, at least 0
    reach : multiple of the training length up to which lags go, at least 1; without end if not given

    Raises
    ------
    ConfigError
        If a share is negative or not a number, or reach below 1.
    """
    turns = np.asarray(turns, dtype=float)
    if not (turns >= 0).all():
        raise ConfigError(f"turns must be numbers of at least 0: got {turns.tolist()}.")
    if not reach >= 1:
        raise ConfigError(f"reach must be at least 1, the training length itself: got {reach}.")
    seen, shown = np.minimum(turns, 1.0), np.minimum(turns * reach, 1.0)
    return np.array([_swing(*ends) for ends in zip(seen.ravel(), shown.ravel(), strict=True)]).reshape(
        seen.shape
    )


def _swing(seen: float, shown: float) -> float:
    """Mean over phases of how far the arc up to ``shown`` leaves the values on that up to ``seen``, turns."""
    phase = np.arange(PHASES)[:, None] / PHASES
    inside, outside = (np.cos(2 * np.pi * (phase + end * np.linspace(0, 1, STEPS))) for end in (seen, shown))
    above, below = outside.max(1) - inside.max(1), inside.min(1) - outside.min(1)
    return float(np.maximum(0.0, np.maximum(above, below)).mean())

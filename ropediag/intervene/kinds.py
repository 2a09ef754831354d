"""The registry: which function carries out which kind of intervention.

Each takes a tapped attention call, what to work on in that layer, the intervention and the positions of the
call's tokens, and returns what the attention function is to return. What each kind needs to be told is in
``intervention.KINDS``.
"""

from collections.abc import Callable
from typing import Any

from ropediag.intervene.lag_limits import limit_lags
from ropediag.intervene.turning import drop_pairs, scale_logits, turn_frequencies

CARRY_OUT: dict[str, Callable[..., Any]] = {
    "clip": limit_lags,
    "fold": limit_lags,
    "freeze": turn_frequencies,
    "interpolate": turn_frequencies,
    "log": scale_logits,
    "rebase": turn_frequencies,
    "zero": drop_pairs,
}

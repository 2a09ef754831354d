"""Stretch: where a model would break after tuning with a larger base, from one capture of it untuned.

Another base stretches the period of each pair by its own factor. A tuned model breaks later than the untuned
one by the factor of the pair at which drift begins: ``docs/trained-turn.md`` judges this beside the laws.
"""

import math
from dataclasses import dataclass

import numpy as np

from ropediag.analysis.drift import measure_drift
from ropediag.analysis.kind import check_capture
from ropediag.analysis.onset_pair import interpolate_onset
from ropediag.analysis.verdict import Verdict, judge_capture
from ropediag.errors import ConfigError
from ropediag.limits import stretched_limit
from ropediag.rope import inv_freq
from ropediag.store import Capture

CLIFF = 2.0  # times the training length by which the loss of a model with a cliff has broken
FARTHEST = 938  # times the base of pretraining: the largest base that a limit was measured at
SAME = 1e-3  # by which measured frequencies may differ from those of a base, of themselves


@dataclass(frozen=True)
class Stretch:
    """What a capture of an untuned model says of other bases.

    Attributes
    ----------
    model, base, rotary_dim : of the model
    train_len : length of its pretraining, tokens
    limit : that was measured, tokens
    onset : place between two pairs at which its mean drift passes the least that counts
    """

    model: str
    base: float
    rotary_dim: int
    train_len: int
    limit: float
    onset: float

    @property
    def has_cliff(self) -> bool:
        """Whether the loss broke within ``CLIFF`` times the training length; without a cliff no law held."""
        return self.limit <= CLIFF * self.train_len

    def limit_at(self, base: float) -> float:
        """Predict the limit after tuning with a larger base, tokens.

        Raises
        ------
        ConfigError
            If the base is not above that of the model.
        """
        if not base > self.base:
            raise ConfigError(f"a base must be above that of {self.model}, {self.base:,.10g}: got {base:g}.")
        return stretched_limit(self.limit, self.onset, self.rotary_dim, base, self.base)

    def base_for(self, length: float) -> float:
        """Predict the least base whose limit is ``length``, tokens.

        Raises
        ------
        ConfigError
            If the length is not above the measured limit, or takes a base that is no finite number.
        """
        if not length > self.limit:
            raise ConfigError(
                f"a length must be above the limit of {self.model}, {self.limit:,.0f} tokens: got "
                f"{length:,.0f}."
            )
        try:
            return self.base * math.exp(self.rotary_dim / (2 * self.onset) * math.log(length / self.limit))
        except OverflowError as error:
            raise ConfigError(
                f"no base in reach stretches pair {self.onset:.2f} of {self.model} to {length:,.0f} tokens."
            ) from error


def measure_stretch(capture: Capture) -> Stretch:
    """Measure what ``Stretch`` needs in a capture of an untuned model, read until it breaks.

    Raises
    ------
    ConfigError
        If the model was tuned or its frequencies are scaled, its loss does not break, or no pair but the
        fastest drifts.
    """
    check_capture(capture)
    verdict = judge_capture(capture)
    frequencies = capture.spec().inv_freq
    frequencies = frequencies[np.isfinite(frequencies).any(1).argmax()]
    frequencies = frequencies[np.isfinite(frequencies)]
    base, rotary_dim = verdict.pretrain_base, 2 * len(frequencies)
    if verdict.trained_len > verdict.train_len:
        raise ConfigError(
            f"a stretch takes a capture of the untuned model: {verdict.model} was tuned at "
            f"{verdict.trained_len:,} tokens."
        )
    if base is None or not np.allclose(frequencies, inv_freq(rotary_dim, base), rtol=SAME, atol=0):
        stated = (
            f"the base that {verdict.model} was pretrained with is not stated"
            if base is None
            else f"{verdict.model} does not turn as base {base:,.10g} does, with which it was pretrained"
        )
        raise ConfigError(f"a stretch takes a capture of the untuned model: {stated}.")
    if verdict.measured_limit is None or not verdict.onset_pair:
        raise ConfigError(
            f"a stretch takes a capture that breaks: {_say_missing(verdict)}. Capture a greater length."
        )
    drift = measure_drift(capture).drift.mean(("layer", "query_head")).values
    return Stretch(
        model=verdict.model,
        base=base,
        rotary_dim=rotary_dim,
        train_len=verdict.train_len,
        limit=float(verdict.measured_limit),
        onset=interpolate_onset(drift, float(verdict.onset_pair)),
    )


def _say_missing(verdict: Verdict) -> str:
    missing = (
        "the loss does not break" if verdict.measured_limit is None else "no pair drifts but the fastest"
    )
    return f"in that of {verdict.model}, read at {verdict.length:,} tokens, {missing}"

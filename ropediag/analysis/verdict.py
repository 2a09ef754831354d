"""The verdict: what a capture says, summed up for a program, and by ``wording`` for a person.

Everything here is taken from the diagnostics and from the loss; nothing is measured a second time.
"""

import math
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import xarray as xr

from ropediag.analysis.angle_note import note_angle_error
from ropediag.analysis.attribution import find_attribution, list_cost, word_attribution
from ropediag.analysis.drift import measure_drift
from ropediag.analysis.explosions import rank_explosions
from ropediag.analysis.glance import glance
from ropediag.analysis.limit import MeasuredLimit
from ropediag.analysis.loss_link import measure_loss_link
from ropediag.analysis.onset_pair import find_onset_pairs
from ropediag.analysis.range_check import measure_range_check
from ropediag.analysis.window import trained_length
from ropediag.analysis.wording import find_weaknesses, word_verdict
from ropediag.store import Capture
from ropediag.theory.training import PredictedLimit

WORST = 10  # offenders listed
_OFFENDER = ("layer", "query_head", "pair", "period", "drift", "drift_se", "share", "move")
_ONSET = ("onset", "onset_low", "onset_high")
_PAIR = ("onset_pair", "onset_pair_low", "onset_pair_high")


@dataclass(frozen=True)
class Verdict:
    """What a capture says. The names of its fields are the keys of ``ropediag analyze --json``.

    Positions, lags, lengths and periods are tokens, drifts in-range standard deviations. None is what is not
    known or not there.

    Attributes
    ----------
    model, length, train_len, tune_len, base, pretrain_base : of the capture
    sequences : that every captured layer holds
    missing_units : (sequence, layer) units that an unfinished capture still lacks
    trained_len : longest sequence of any phase of training
    loss_breaks : whether the excess stays above its threshold from some position on; None without excess, or
        within the training length
    measured_limit, measured_limit_low, measured_limit_high : that position, with its 95 % interval
    threshold : of the excess, nats
    predicted_limit, predicted_law, assumes_tuning : the law's limit, what sets it, and whether no phase of
        training had the rotation in use, which the law is about
    first_reach : smallest trained reach, a lower bound
    phases : of training, oldest first, each with label, length and source
    unseen_pairs : (layer, pair) combinations that meet unseen angles at this length
    drifts : whether any pair drifts; None if no pair could be tested
    tested_pairs, drifting_pairs : (layer, query head, pair) combinations
    range_tested, range_strays : combinations whose range was tested at seen lags in sequences it was not
        learned from, and those that left it there; none tested with fewer than 8 sequences
    critical_pair : the theory's, of the layers that reach farthest
    onset_pair, onset_pair_low, onset_pair_high : as measured, of the model, with its 95 % interval
    past_critical : share of all drift in the critical pair and slower ones
    layers : for each its layer, critical_pair, onset_pair, _low, _high, past_critical and drifting_pairs
    heads : for each its layer, query_head, critical_pair, onset_pair, _low, _high and drifting_pairs
    offenders : the ten pairs that drift most, each with layer, query_head, pair, period, drift, drift_se,
        share of all drift, move (logits), onset, onset_low, onset_high
    loss_link : for the pairs ``before`` and ``past`` the critical one, the head whose joint logit follows
        the excess best: layer, query_head, correlation, correlation_low, correlation_high
    cost : what unseen angles cost, by the attribution next to the capture, as ``list_cost`` lists it; None
        where there is none
    sentences : the verdict in words, each with its kind: ``geometry`` (which angles are new: exact, from the
        phases), ``description`` (how far loss and contributions move) or ``cause`` (what it costs, which only
        interventions and attributions show); the cause leads where it was measured
    weak : what the evidence does not carry, in words
    """

    model: str
    length: int
    sequences: int
    missing_units: int
    train_len: int
    tune_len: int
    trained_len: int
    base: float | None
    pretrain_base: float | None
    loss_breaks: bool | None
    measured_limit: int | None
    measured_limit_low: int | None
    measured_limit_high: int | None
    threshold: float | None
    predicted_limit: float | None
    predicted_law: str
    assumes_tuning: bool
    first_reach: float | None
    phases: list[dict[str, Any]]
    unseen_pairs: int
    drifts: bool | None
    tested_pairs: int
    drifting_pairs: int
    range_tested: int
    range_strays: int
    critical_pair: int | None
    onset_pair: int | None
    onset_pair_low: int | None
    onset_pair_high: int | None
    past_critical: float | None
    layers: list[dict[str, Any]]
    heads: list[dict[str, Any]]
    offenders: list[dict[str, Any]]
    loss_link: dict[str, dict[str, Any]]
    cost: dict[str, Any] | None = None
    sentences: list[dict[str, str]] = field(default_factory=list)
    weak: list[str] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        """All fields, as JSON takes them."""
        return asdict(self)


def judge_capture(capture: Capture) -> Verdict:
    """Sum up a capture.

    Raises
    ------
    ConfigError
        If the file does not state the training length.
    """
    trained_len, attrs, training = trained_length(capture), capture.attrs, capture.training
    drift = measure_drift(capture).load()
    onsets = find_onset_pairs(drift, capture.critical_pair)
    worst = rank_explosions(drift, capture["rope/inv_freq"].load()).isel(rank=slice(WORST))
    tested = int(np.isfinite(drift.p_value).sum())
    check = measure_range_check(capture)
    onset_pair: dict[str, Any] = {name: _whole(onsets[f"model_{name}"]) for name in _PAIR}
    verdict = Verdict(
        model=str(attrs.get("model", "unknown model")),
        length=int(attrs["length"]),
        sequences=_count_sequences(capture),
        missing_units=len(capture.missing_layers),
        train_len=int(attrs.get("train_len") or 0),
        tune_len=int(attrs.get("tune_len") or 0),
        trained_len=trained_len,
        base=_number(attrs.get("base", math.nan)),
        pretrain_base=_number(attrs.get("pretrain_base", math.nan)),
        **_read_limits(capture),
        phases=[
            {"label": phase.label, "length": phase.length, "source": phase.source}
            for phase in training.phases
        ],
        unseen_pairs=int(training.meets_unseen(int(attrs["length"])).sum()),
        drifts=bool(drift.drifts.any()) if tested else None,
        tested_pairs=tested,
        drifting_pairs=int(drift.drifts.sum()),
        range_tested=int(check.stray.notnull().sum()),
        range_strays=int(check.strays.sum()),
        **onset_pair,
        past_critical=_number(onsets.model_past_critical),
        layers=_list_layers(onsets, drift),
        heads=_list_heads(onsets, drift),
        offenders=[
            _numbers(worst.isel(rank=rank), (*_OFFENDER, *_ONSET)) for rank in range(worst.sizes["rank"])
        ],
        loss_link=_find_link(capture),
    )
    table, unusable = find_attribution(capture)
    cost = None if table is None else list_cost(table)
    causes = None if table is None else word_attribution(table)
    weak = find_weaknesses(verdict) + [note for note in (note_angle_error(capture), unusable) if note]
    return replace(verdict, cost=cost, sentences=word_verdict(verdict, causes), weak=weak)


def _read_limits(capture: Capture) -> dict[str, Any]:
    """The limit of the loss, that of the law, and the law's critical pair."""
    seen = glance(capture)
    measured = seen.measured or MeasuredLimit(None, None, None, math.nan, 0)
    judged = seen.measured is not None and int(capture.attrs["length"]) > capture.window_len
    limit = seen.predicted or PredictedLimit(None, "the training is not known", assumes_tuning=False)
    return {
        "loss_breaks": measured.position is not None if judged else None,
        "measured_limit": measured.position,
        "measured_limit_low": measured.low,
        "measured_limit_high": measured.high,
        "threshold": _number(measured.threshold),
        "predicted_limit": limit.value,
        "predicted_law": limit.law,
        "assumes_tuning": limit.assumes_tuning,
        "first_reach": seen.first_reach,
        "critical_pair": seen.critical_pair if seen.critical_pair >= 0 else None,
    }


def _count_sequences(capture: Capture) -> int:
    """Sequences that every layer holds of which there is anything at all."""
    sequences, missing = capture.sizes["sequence"], Counter(layer for _, layer in capture.missing_layers)
    return min((sequences - count for count in missing.values() if count < sequences), default=sequences)


def _list_layers(onsets: xr.Dataset, drift: xr.Dataset) -> list[dict[str, Any]]:
    counts = drift.drifts.values.sum((1, 2)).tolist()
    pairs = {
        name: onsets[name].values.tolist() for name in ("critical_pair", *(f"layer_{name}" for name in _PAIR))
    }
    shares = onsets.past_critical.values.tolist()
    return [
        {"layer": layer}
        | {name.removeprefix("layer_"): _whole(values[row]) for name, values in pairs.items()}
        | {"past_critical": _number(shares[row]), "drifting_pairs": counts[row]}
        for row, layer in enumerate(onsets.layer.values.tolist())
    ]


def _list_heads(onsets: xr.Dataset, drift: xr.Dataset) -> list[dict[str, Any]]:
    counts, critical = drift.drifts.values.sum(2).tolist(), onsets.critical_pair.values.tolist()
    pairs = {name: onsets[name].values.tolist() for name in _PAIR}
    return [
        {"layer": layer, "query_head": head, "critical_pair": _whole(critical[row])}
        | {name: _whole(values[row][column]) for name, values in pairs.items()}
        | {"drifting_pairs": counts[row][column]}
        for row, layer in enumerate(onsets.layer.values.tolist())
        for column, head in enumerate(onsets.query_head.values.tolist())
    ]


def _find_link(capture: Capture) -> dict[str, dict[str, Any]]:
    """The head that follows the excess best, on either side of the critical pair; none without excess."""
    if "loss/nll_windowed" not in capture:
        return {}
    link = measure_loss_link(capture).load()
    found = {}
    for side in link.side.values.tolist():
        values = link.correlation.sel(side=side)
        if np.isfinite(values).any():
            at = link.sel(
                side=side, **{axis: values[axis][place] for axis, place in values.argmax(...).items()}
            )
            names = ("correlation", "correlation_low", "correlation_high", "q_value")
            found[side] = {axis: int(at[axis]) for axis in ("layer", "query_head")} | _numbers(at, names)
    return found


def _whole(value: Any) -> int | None:
    number = _number(value)
    return None if number is None else int(number)


def _numbers(found: xr.Dataset, names: tuple[str, ...]) -> dict[str, Any]:
    """Plain numbers; whole where the array holds whole ones."""
    whole = {name: np.issubdtype(found[name].dtype, np.integer) for name in names}
    return {name: int(found[name]) if whole[name] else _number(found[name]) for name in names}


def _number(value: Any) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None

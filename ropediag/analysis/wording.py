"""The verdict in words: each sentence with its numbers, and what the evidence does not carry."""

from typing import TYPE_CHECKING

from ropediag.analysis.drift import FALSE_DISCOVERIES, LEAST
from ropediag.analysis.excursions import TRUSTED
from ropediag.analysis.range_check import HALF, STRAYS
from ropediag.schema import REPLICATES

if TYPE_CHECKING:
    from ropediag.analysis.verdict import Verdict

NEAR = 3  # pairs between theory and measurement that are called agreement
ALIKE = (0.8, 1.25)  # measured over predicted limit, likewise


def word_verdict(verdict: "Verdict", causes: list[str] | None = None) -> list[dict[str, str]]:
    """Write what was found: geometry, then description, then what of it is known as a cause.

    Parameters
    ----------
    verdict : what was found
    causes : what unseen angles cost, in sentences, which lead then; None where that was not measured

    Returns
    -------
    list of ``kind`` and ``text``
    """
    if verdict.length <= verdict.trained_len:
        text = (
            f"{verdict.model} was read at {verdict.length:,} tokens, within the {verdict.trained_len:,} it "
            "was trained at: there is nothing to judge."
        )
        return [{"kind": "geometry", "text": text}]
    described = [_word_loss(verdict), _word_drift(verdict)]
    if verdict.drifts is not None:
        described.append(_word_range_check(verdict))
    if verdict.drifts:
        described += [_word_onset(verdict), _word_offenders(verdict)]
    described += _word_disagreements(verdict)
    kinds = {
        **({"cause": causes} if causes else {}),
        "geometry": _word_geometry(verdict),
        "description": described,
        **({"cause": [_word_cause(verdict)]} if verdict.loss_breaks and not causes else {}),
    }
    return [{"kind": kind, "text": text} for kind, texts in kinds.items() for text in texts]


def _word_geometry(verdict: "Verdict") -> list[str]:
    phases = ", then ".join(
        f"{phase['length']:,} tokens ({phase['label'] or 'a phase'})" for phase in verdict.phases
    )
    shown = f"Training was {phases}"
    if not verdict.unseen_pairs:
        return [f"{shown}: no untrained angle occurs at {verdict.length:,} tokens."]
    said = (
        f"{shown}: {verdict.unseen_pairs:,} rotary pairs, counted in each layer, made less than a full turn "
        f"there and meet unseen angles at {verdict.length:,} tokens"
    )
    if verdict.first_reach is not None:
        said += f", the first from lag {verdict.first_reach:,.0f} on"
    assumed = ", which assumes tuning" if verdict.assumes_tuning else ""
    limit = f"The law sets no limit: {verdict.predicted_law}."
    if verdict.predicted_limit is not None:
        limit = f"The law's predicted limit is {verdict.predicted_limit:,.0f} tokens{assumed}."
    return [f"{said}.", limit]


def _word_cause(verdict: "Verdict") -> str:
    pairs = "past" if verdict.critical_pair is None else f"{verdict.critical_pair} and slower"
    return (
        "What the unseen angles cost, a capture cannot tell. ropediag attribute splits the loss over layers, "
        f"heads and pairs; ropediag ablate holds pairs {pairs} within their trained reach and measures how "
        "much of the loss returns."
    )


def word_headline(verdict: "Verdict") -> str:
    """Say in a few words what was found."""
    if verdict.length <= verdict.trained_len or (verdict.loss_breaks is None and verdict.drifts is None):
        return "Nothing to judge"
    if verdict.loss_breaks:
        return "It breaks"
    if verdict.drifts:
        return "Pairs drift"
    return "It holds" if verdict.loss_breaks is False else "No pair drifts"


def group_sentences(verdict: "Verdict") -> dict[str, list[str]]:
    """Group the sentences of a verdict by their kind, in their order."""
    found: dict[str, list[str]] = {}
    for sentence in verdict.sentences:
        found.setdefault(sentence["kind"], []).append(sentence["text"])
    return found


def find_weaknesses(verdict: "Verdict") -> list[str]:
    """Say what the evidence does not carry."""
    weak = []
    if verdict.missing_units:
        weak.append(
            f"the capture is not finished: {verdict.missing_units} (sequence, layer) units are missing."
        )
    if verdict.sequences < REPLICATES:
        weak.append(
            f"{verdict.sequences} sequence{'s' * (verdict.sequences > 1)}: errors come from blocks of "
            f"queries, taken as independent; capture with --sequences {REPLICATES}."
        )
    if verdict.threshold is None:
        weak.append("no windowed loss in this capture, so it cannot say whether the loss breaks.")
    if verdict.loss_breaks and verdict.measured_limit_low is None:
        weak.append(
            "the measured limit has no interval: there is one sequence, or some of them do not break."
        )
    reach = int(TRUSTED * verdict.length)
    if reach < 2 * verdict.trained_len:
        weak.append(
            f"lags are judged up to {reach:,}, less than twice the trained {verdict.trained_len:,}: slow "
            "pairs may leave their range further out."
        )
    if not verdict.tested_pairs:
        weak.append("no pair could be tested: no unseen lag has a mean and a standard error.")
    if verdict.drifts and (verdict.onset_pair_low is None or verdict.onset_pair_high is None):
        weak.append("the onset pair of the model has no interval on one side.")
    return weak


def _word_loss(verdict: "Verdict") -> str:
    trained = f"{verdict.model}, trained at {verdict.trained_len:,} tokens and read at {verdict.length:,},"
    if verdict.loss_breaks is None:
        return f"{trained} was captured without the loss of a shorter context."
    if verdict.measured_limit is None:
        return (
            f"{trained} does not break in loss: more context never costs {verdict.threshold:g} nats for good."
        )
    interval, against = _interval(verdict.measured_limit_low, verdict.measured_limit_high), ""
    if verdict.predicted_limit:
        ratio = verdict.measured_limit / verdict.predicted_limit
        against = f", {ratio:.2f} times the predicted limit of {verdict.predicted_limit:,.0f}"
    return (
        f"{trained} breaks in loss: more context costs over {verdict.threshold:g} nats a token from position "
        f"{verdict.measured_limit:,} on{interval}{against}."
    )


def _word_drift(verdict: "Verdict") -> str:
    if verdict.drifts is None:
        return f"Whether pairs drift was not tested: {verdict.tested_pairs} of them could be."
    if not verdict.drifts:
        return (
            f"At unseen angles none of {verdict.tested_pairs:,} pairs leaves the range that its mean "
            f"contribution has at seen ones by more than {LEAST:g} standard deviations."
        )
    return (
        f"At unseen angles {verdict.drifting_pairs:,} of {verdict.tested_pairs:,} pairs leave the range that "
        f"their mean contribution has at seen ones by more than {LEAST:g} standard deviations, at a rate of "
        f"false discoveries of {_percent(FALSE_DISCOVERIES)}."
    )


def _word_range_check(verdict: "Verdict") -> str:
    if not verdict.range_tested:
        return (
            f"Whether ranges hold at seen angles was not tested: that takes {2 * HALF} sequences, half of "
            "them to learn the ranges from."
        )
    return (
        f"At seen angles, in the half of the sequences from which no range was learned, "
        f"{verdict.range_strays:,} of {verdict.range_tested:,} pairs exceed {STRAYS:g} standard deviations."
    )


def _word_onset(verdict: "Verdict") -> str:
    if verdict.onset_pair is None:
        return f"Single heads drift; the mean over all heads stays below {LEAST:g} for every pair."
    interval = _interval(verdict.onset_pair_low, verdict.onset_pair_high)
    begins = f"Over all heads drift begins at pair {verdict.onset_pair}{interval}"
    if verdict.critical_pair is None or verdict.past_critical is None:
        return f"{begins}; theory names no critical pair."
    late = verdict.onset_pair - verdict.critical_pair
    place = f"{abs(late)} pair{'s' * (abs(late) != 1)} {'past' if late > 0 else 'before'}" if late else "at"
    critical, share = verdict.critical_pair, _percent(verdict.past_critical)
    return (
        f"{begins}, {place} the critical pair {critical} of the theory; {share} of all drift lies in pair "
        f"{critical} and slower ones."
    )


def _word_offenders(verdict: "Verdict") -> str:
    worst, count = verdict.offenders[0], len(verdict.offenders)
    named = f"layer {worst['layer']}, head {worst['query_head']}, pair {worst['pair']}"
    from_lag = "" if worst["onset"] is None else f", from lag {worst['onset']:,.0f} on"
    period = "" if worst["period"] is None else f" (period {worst['period']:,.0f} tokens)"
    said = f"Most drifts {named}{period}: by {worst['drift']:.1f} standard deviations{from_lag}"
    share = sum(offender["share"] for offender in verdict.offenders)
    return f"{said}; the worst {count} make up {_percent(share)} of all drift." if count > 1 else f"{said}."


def _word_disagreements(verdict: "Verdict") -> list[str]:
    """Name every point in which theory and measurement, or loss and logits, disagree."""
    said = []
    critical, onset = verdict.critical_pair, verdict.onset_pair
    if critical is not None and onset is not None:
        low = onset if verdict.onset_pair_low is None else verdict.onset_pair_low
        high = onset if verdict.onset_pair_high is None else verdict.onset_pair_high
        if low > critical + NEAR or high < critical:
            said.append(f"Theory and measurement disagree on the pair: {critical} against {onset}.")
    predicted, limit = verdict.predicted_limit, verdict.measured_limit
    if predicted and limit is not None and not ALIKE[0] <= limit / predicted <= ALIKE[1]:
        said.append(
            f"Theory and measurement disagree on the limit: {predicted:,.0f} against {limit:,} tokens."
        )
    if verdict.loss_breaks is False and verdict.drifts:
        said.append(
            f"{verdict.drifting_pairs:,} pairs drift and the loss stays below its threshold of "
            f"{verdict.threshold:g} nats: drift alone does not break it here."
        )
    if verdict.loss_breaks and verdict.drifts is False:
        said.append(
            f"The loss breaks at {verdict.measured_limit:,} and none of {verdict.tested_pairs:,} pairs "
            "drifts: what breaks it is not the mean of a single pair."
        )
    return said


def _interval(low: float | int | None, high: float | int | None, form: str = "{:,}") -> str:
    if low is None or high is None:
        return ""
    return f" (95 % interval {form.format(low)} to {form.format(high)})"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"

"""The verdict in words: each sentence with its numbers, and what the evidence does not carry."""

from typing import TYPE_CHECKING, Any

from ropediag.analysis.drift import FALSE_DISCOVERIES, LEAST
from ropediag.analysis.excursions import TRUSTED
from ropediag.schema import REPLICATES

if TYPE_CHECKING:
    from ropediag.analysis.verdict import Verdict

NEAR = 3  # pairs between theory and measurement that are called agreement
ALIKE = (0.8, 1.25)  # measured over predicted limit, likewise


def word_verdict(verdict: "Verdict") -> list[str]:
    """Say what was found: the loss, the drift, where it begins, who carries it, how theory fares."""
    if verdict.length <= verdict.trained_len:
        return [
            f"{verdict.model} was read at {verdict.length:,} tokens, within the {verdict.trained_len:,} it "
            "was trained at: there is nothing to judge."
        ]
    said = [_word_loss(verdict), _word_drift(verdict)]
    if verdict.drifts:
        said += [_word_onset(verdict), _word_offenders(verdict)]
    if verdict.loss_breaks and "past" in verdict.loss_link:
        said.append(_word_link(verdict))
    return said + _word_disagreements(verdict)


def word_headline(verdict: "Verdict") -> str:
    """Say in a few words what was found."""
    if verdict.length <= verdict.trained_len or (verdict.loss_breaks is None and verdict.drifts is None):
        return "Nothing to judge"
    if verdict.loss_breaks:
        return "It breaks"
    if verdict.drifts:
        return "Pairs drift"
    return "It holds" if verdict.loss_breaks is False else "No pair drifts"


def find_weaknesses(verdict: "Verdict") -> list[str]:
    """Say what the evidence does not carry."""
    weak = []
    if verdict.missing_units:
        weak.append(
            f"the capture is not finished: {verdict.missing_units} (sequence, layer) units are missing."
        )
    if verdict.base is None or verdict.pretrain_base is None:
        weak.append(
            "the base of pretraining is not known, so the law names no limit: capture with --pretrain-base."
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
        weak.append(
            "no pair could be tested: no lag past the trained length has a mean and a standard error."
        )
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
        against = f", {ratio:.2f} times the law's limit of {verdict.predicted_limit:,.0f}"
    return (
        f"{trained} breaks in loss: more context costs over {verdict.threshold:g} nats a token from position "
        f"{verdict.measured_limit:,} on{interval}{against}."
    )


def _word_drift(verdict: "Verdict") -> str:
    if verdict.drifts is None:
        return f"Whether pairs drift cannot be said: {verdict.tested_pairs} of them could be tested."
    if not verdict.drifts:
        return (
            f"None of {verdict.tested_pairs:,} pairs leaves the range of its mean contribution in training "
            f"by more than {LEAST:g} in-window standard deviations."
        )
    return (
        f"{verdict.drifting_pairs:,} of {verdict.tested_pairs:,} pairs leave the range of their mean "
        f"contribution in training by more than {LEAST:g} in-window standard deviations, at a rate of false "
        f"discoveries of {_percent(FALSE_DISCOVERIES)}."
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
    said = f"Most drifts {named}{period}: by {worst['drift']:.1f} in-window standard deviations{from_lag}"
    share = sum(offender["share"] for offender in verdict.offenders)
    return f"{said}; the worst {count} make up {_percent(share)} of all drift." if count > 1 else f"{said}."


def _word_link(verdict: "Verdict") -> str:
    link = verdict.loss_link["past"]
    interval = _interval(link["correlation_low"], link["correlation_high"], "{:.2f}")
    said = f"{_judge_link(link)}; ropediag ablate tests what repairs the loss."
    return (
        f"The excess follows the joint logit of the slow pairs best in layer {link['layer']}, head "
        f"{link['query_head']}: rank correlation {link['correlation']:.2f}{interval}. {said}"
    )


def _judge_link(link: dict[str, Any]) -> str:
    """Write whether excess and logit go together, and which test fails."""
    q_value = link["q_value"]
    if q_value is None:
        return "With one sequence this is not tested"
    if q_value > FALSE_DISCOVERIES:
        return (
            f"Among all heads tested this can be chance (q-value {q_value:.2g}, above "
            f"{FALSE_DISCOVERIES:g}), so it is no evidence that the two go together"
        )
    if (link["correlation"] or 0) <= 0:
        return "The two do not rise together"
    return f"The two go together (q-value {q_value:.2g}); that is no proof that one causes the other"


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

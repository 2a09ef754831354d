"""What ``ropediag evaluate`` shows on a terminal: the figures, and recall as a table."""

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from ropediag.cli._headline import word_headline

if TYPE_CHECKING:
    from ropediag.analysis.limit import MeasuredLimit
    from ropediag.evaluate.result import Evaluation
    from ropediag.evaluate.retrieval import Recall


def print_evaluation(console: Console, evaluation: "Evaluation") -> None:
    """Print the figures of an evaluation."""
    sequences, length = evaluation.nll.shape
    training = evaluation.training
    scaled = ", log-scaled attention" if evaluation.log_attention else ""
    console.print()
    console.print(
        f"{evaluation.model} at {sequences} x {length:,} tokens, {length / training.trained:g} x its "
        f"training length{scaled}",
        style="bold",
    )
    console.print(f"base {training.base:g}")
    for line in training.describe():
        console.print(line)
    console.print(_word_headline(evaluation))
    table = Table(show_header=False, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _rows(evaluation):
        table.add_row(name, value)
    console.print(table)
    for recall in evaluation.recall:
        _print_recall(console, recall)
    for sentence in evaluation.disagreement:
        console.print(f"note: {sentence}")


def _word_headline(evaluation: "Evaluation") -> str:
    """Write in one line how far the model reads, and what changed since its parent."""
    parent, change = evaluation.parent_limits, evaluation.regression
    limits, laws = [evaluation.measured.position], [evaluation.predicted]
    if parent:
        limits, laws = [parent.measured.position, *limits], [parent.predicted, *laws]
    return word_headline(limits, laws, short_context=change.difference.value if change else None)


def _rows(evaluation: "Evaluation") -> list[tuple[str, str]]:
    predicted, sliding = evaluation.predicted, evaluation.sliding_perplexity
    first = evaluation.first_reach
    rows = [
        ("predicted limit", f"{predicted:,.0f} tokens" if predicted else "none"),
        ("first reach", f"{first:,.0f} tokens, a lower bound" if first else "none"),
        ("measured limit", _describe_limit(evaluation, evaluation.measured, predicted)),
    ]
    parent = evaluation.parent_limits
    if parent and evaluation.regression:
        law = f"predicted {parent.predicted:,.0f} tokens" if parent.predicted else "none predicted"
        found = _describe_limit(evaluation, parent.measured, parent.predicted)
        rows.append((f"limit of {evaluation.regression.parent}", f"{law}; measured {found}"))
    if evaluation.excess:
        at = ", ".join(f"{nats:+.2f} at {multiple:g} x" for multiple, nats in evaluation.excess)
        rows.append(("excess loss", f"{at} the training length (nats)"))
    rows += [
        ("perplexity, one pass", f"{evaluation.single_pass_perplexity:.3f}"),
        (
            "perplexity, sliding",
            f"{sliding.value:.3f} in windows of {sliding.window:,} tokens, stride {sliding.stride:,}",
        ),
    ]
    rows += _describe_key_tokens(evaluation) + _describe_regression(evaluation)
    for task, metrics in evaluation.tasks.items():
        values = [f"{key} {value:.4g}" for key, value in metrics.items() if isinstance(value, float)]
        rows.append((task, ", ".join(values)))
    return rows


def _describe_limit(evaluation: "Evaluation", measured: "MeasuredLimit", predicted: float | None) -> str:
    """Write a measured limit of the evaluation's text, of the model or of its parent."""
    if measured.position is None:
        length = evaluation.nll.shape[1]
        return f"none: the excess loss stays below +{measured.threshold:g} nats at the end, {length:,} tokens"
    interval = f" (95 % interval {measured.low:,} to {measured.high:,})" if measured.low is not None else ""
    ratio = f", {measured.position / predicted:.2f} x the predicted one" if predicted else ""
    return (
        f"{measured.position:,} tokens{interval}{ratio}: excess above +{measured.threshold:g} nats from there"
    )


def _describe_key_tokens(evaluation: "Evaluation") -> list[tuple[str, str]]:
    key = evaluation.key_tokens
    if key is None:
        return []
    chosen = f"{key.count:,} tokens ({key.share:.2%}) that {key.evaluator} predicts from {key.long:,} tokens"
    chosen += f" and not from {key.short:,}"
    if key.perplexity is None:
        return [("perplexity, key tokens", f"none: {chosen}")]
    windowed = f"{key.perplexity_windowed:.3f} in windows of the training length"
    return [("perplexity, key tokens", f"{key.perplexity:.3f} in one pass, {windowed}; {chosen}")]


def _describe_regression(evaluation: "Evaluation") -> list[tuple[str, str]]:
    found = evaluation.regression
    if found is None:
        return []
    change = found.difference
    verdict = "worse than its parent" if found.regressed else "no worse than chance allows"
    interval = f"95 % interval {change.low:+.4f} to {change.high:+.4f}, {change.count} blocks"
    losses = f"loss {found.loss:.4f}, {found.parent} {found.parent_loss:.4f}"
    return [("short context", f"{verdict}: {change.value:+.4f} nats ({interval}); {losses}")]


def _print_recall(console: Console, recall: "Recall") -> None:
    """Print recall over length and depth, and over all depths with its interval."""
    from ropediag.evaluate.result import recall_by_length

    guess = f", guessing {recall.chance:.0%}" if recall.chance else ""
    console.print(f"\nrecall, {recall.task}: right answers by length and depth (0 is the beginning){guess}")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
    for head in ("length", *(f"{depth:g}" for depth in recall.depths), "all", "95 % interval"):
        table.add_column(head, justify="right", no_wrap=True)
    overall = dict(recall_by_length(recall))
    for row, length in enumerate(recall.lengths):
        if length in overall:
            counts = zip(recall.hits[row].tolist(), recall.count[row].tolist(), strict=True)
            cells = [f"{hits}/{count}" for hits, count in counts]
            share = overall[length]
            table.add_row(f"{length:,}", *cells, f"{share.value:.0%}", f"{share.low:.0%} to {share.high:.0%}")
    console.print(table)
    for length in sorted(set(recall.lengths) - set(overall)):
        console.print(f"{length:,} tokens are too few for a prompt")

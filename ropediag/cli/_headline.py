"""The headline of a comparison: limits, laws, drifting pairs and short-context loss, before and after."""

from collections.abc import Sequence

Numbers = Sequence[float | None]


def word_headline(
    limits: Numbers, laws: Numbers, drifting: Numbers = (), short_context: float | None = None
) -> str:
    """Write the headline of one model, or of two as ``before -> after``.

    Parameters
    ----------
    limits, laws : measured and predicted limit of each model, tokens; None for none
    drifting : drifting rotary pairs of each model; empty where nobody counted
    short_context : nats by which the loss within the training length changed; None where it is not known

    Returns
    -------
    Such as ``limit 140 -> 468 (law 128 -> 386); drifting pairs 80 -> 66; short-context loss +0.00``
    """
    parts = [f"limit {_join(limits)} (law {_join(laws)})"]
    if drifting:
        parts.append(f"drifting pairs {_join(drifting)}")
    if short_context is not None:
        parts.append(f"short-context loss {short_context:+.2f}")
    return "; ".join(parts)


def _join(numbers: Numbers) -> str:
    return " -> ".join("none" if number is None else f"{number:,.0f}" for number in numbers)

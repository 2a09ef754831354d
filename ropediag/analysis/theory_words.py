"""What the laws say of a setting, in words, row by row, so that settings can stand beside each other."""

from math import ceil

from ropediag.prediction import Prediction
from ropediag.reach import TargetAnswer, search_retrieval_base
from ropediag.retrieval_bound import SEARCHED

NONE = "none needed"


def describe_theory(prediction: Prediction) -> dict[str, str]:
    """Say what the laws say: name of a row -> its text; every prediction has the same rows."""
    critical, size = prediction.critical_dimension, 2 * len(prediction.inv_freq)
    retrieval = prediction.retrieval_bound
    return {
        "Critical dimension": f"{critical} of {size}: pairs 0 to {critical // 2 - 1} made a full turn",
        "Critical base": NONE
        if prediction.critical_base is None
        else f"{word_number(prediction.critical_base)} when tuned at {prediction.tune_len:,}",
        "Predicted limit": prediction.describe_limit(),
        "First reach": "none"
        if prediction.first_reach is None
        else f"{prediction.first_reach:,.0f} tokens, a lower bound",
        "Because": prediction.law,
        "Breaks first": _describe_first(prediction),
        "Retrieval bound": "none found" if retrieval is None else f"{retrieval:,} tokens, first B_m < 0",
        **describe_target(prediction.target),
    }


def _describe_first(prediction: Prediction) -> str:
    first = prediction.first_untrained
    if first is None:
        return "no pair: all that turn were trained"
    return (
        f"pair {first.pair}: period {first.period:,.0f} tokens, {first.pretrain_period:,.0f} in pretraining, "
        f"{first.coverage:.2f} of a turn seen"
    )


def describe_target(target: TargetAnswer | None) -> dict[str, str]:
    """Say whether a target is reached, and what base reaches it."""
    if target is None:
        return {"At the target": "no target set", "Base needed": "", "To be cautious": ""}
    reached = "the law allows it" if target.reached else f"{target.unseen_pairs} pairs meet unseen angles"
    base, cautious = target.base, target.cautious_base
    return {
        "At the target": f"{target.length:,} tokens: {reached}",
        "Base needed": NONE
        if base is None
        else f"{ceil(base):,} when tuned at {target.tune_len:,}, plain RoPE",
        "To be cautious": NONE if cautious is None else f"{ceil(cautious):,}, without the law's ceiling",
    }


def describe_retrieval(prediction: Prediction) -> str:
    """Say which bases keep B_m at or above 0 up to the target; to find them can take seconds."""
    if prediction.target is None:
        return "no target set"
    length = prediction.target.length
    if length > SEARCHED:
        return f"targets above {SEARCHED:,} are not searched"
    base, above = search_retrieval_base(2 * len(prediction.inv_freq), length)
    if base is None:
        return f"no base found that keeps B_m >= 0 up to {length:,}"
    always = f", and every searched base from {_round(above)} on" if above else ""
    return f"base {_round(base)} keeps B_m >= 0 up to {length:,}{always}"


def _round(number: float) -> str:
    return f"{number:.1e}".replace("e+0", "e").replace("e+", "e")


def word_number(number: float) -> str:
    """Write a base: whole from a thousand on."""
    return f"{number:,.0f}" if number >= 1000 else f"{number:,.6g}"

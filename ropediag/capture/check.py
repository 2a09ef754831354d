"""The capture's own checks of a model, before anything is measured: does the tap see the truth?"""

from collections import Counter
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from ropediag.errors import CaptureError, ModelError
from ropediag.models.inputs import run_plain
from ropediag.models.tap import AttentionCall, attention_layers, tap_attention

PREFIX = 64


def attend_finite(call: AttentionCall) -> Any:
    """Do what the model would have done, and refuse what is not finite.

    Raises
    ------
    CaptureError
        If the attention output holds NaN or infinity, naming the layer.
    """
    result = call.attend()
    if not torch.isfinite(result[0]).all():
        raise CaptureError(f"layer {call.layer}: its attention output is the first that is NaN or infinite.")
    return result


def check_tap(model, input_ids: Int[Tensor, "sequence position"]) -> None:
    """Run a short prefix with and without the tap.

    Raises
    ------
    ModelError
        If the model cannot run, or a layer attends in a way ropediag does not know.
    CaptureError
        If the tap changes the logits, misses a layer or sees one twice, or a layer's output is NaN.
    """
    name = model.config.model_type
    types = set(getattr(model.config.get_text_config(), "layer_types", None) or ()) & {"chunked_attention"}
    if types:
        raise ModelError(
            f"{name} has layers of type {types.pop()}, whose visible keys ropediag does not know yet."
        )
    prefix = input_ids[:1, :PREFIX]
    calls: Counter[int] = Counter()

    def count(call: AttentionCall):
        if not getattr(call.module, "is_causal", True):
            raise ModelError(
                f"{name}, layer {call.layer}: attention is not causal, so it sees negative lags."
            )
        calls[call.layer] += 1
        return attend_finite(call)

    plain = run_plain(model, prefix)
    with torch.no_grad(), tap_attention(model, count):
        tapped = model(input_ids=prefix, use_cache=False).logits
    expected = Counter(attention_layers(model))
    for layer in sorted(expected | calls):
        if calls[layer] != 1 or expected[layer] != 1:
            raise CaptureError(
                f"{name}, layer {layer}: {expected[layer]} attention modules made {calls[layer]} calls in "
                "one pass, where one each is what ropediag can attribute. This model cannot be captured."
            )
    if not torch.isfinite(plain).all():
        raise CaptureError(
            f"the logits of {name} are NaN or infinite, though every layer's attention is finite."
        )
    if not torch.equal(plain, tapped):
        largest = (plain - tapped).abs().max().item()
        raise CaptureError(
            f"the tap changes the logits of {name} (by up to {largest:.2g}), so it cannot be captured."
        )

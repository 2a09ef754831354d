"""How each layer makes logits of rotated queries and keys: factor, window, soft cap, as the model says."""

from dataclasses import dataclass
from typing import Any

import torch

from ropediag.models.devices import input_device
from ropediag.models.tap import AttentionCall, find_decoder, tap_attention


@dataclass(frozen=True)
class LogitRule:
    """What one layer does to the product of query and key.

    Attributes
    ----------
    scaling : factor on the product
    window : lags 0 .. window - 1 are visible; None for all
    softcap : the softmax sees softcap * tanh(logit / softcap); None for no cap
    """

    scaling: float
    window: int | None
    softcap: float | None


def read_logit_rules(model: Any) -> dict[int, LogitRule]:
    """Run two tokens through the model and note what each attention call is told, by layer."""
    rules: dict[int, LogitRule] = {}

    def note(call: AttentionCall) -> Any:
        rules[call.layer] = LogitRule(call.scaling, call.window, call.softcap)
        return call.attend_to_self()

    ids = torch.zeros(1, 2, dtype=torch.long, device=input_device(model))
    with torch.no_grad(), tap_attention(model, note):
        find_decoder(model)(input_ids=ids, use_cache=False)
    return rules

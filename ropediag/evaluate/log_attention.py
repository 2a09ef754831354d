"""Log-scaled attention: logits that grow with the logarithm of the position past the training length.

The softmax over more keys is flatter. Multiplying the logits of the query at position t by
max(1, log(t + 1) / log(train_len)), t + 1 being the keys it sees, works against that, and leaves every
query inside the training length as it was. Scaling the query scales its logits, before a soft cap if there
is one; logits of attention sinks are no product with the query and stay as they are.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ropediag.models.tap import AttentionCall, tap_attention


def log_factor(length: int, train_len: int) -> Float[Tensor, " position"]:
    """Factor on the logits of each query position below ``length``, float64; 1 up to the training length."""
    keys = torch.arange(1, length + 1, dtype=torch.float64)
    return (keys.log() / torch.tensor(train_len, dtype=torch.float64).log()).clamp(min=1)


@contextmanager
def scale_attention(model: Any, train_len: int) -> Iterator[None]:
    """Let every attention call of ``model`` inside the block scale its logits.

    Parameters
    ----------
    model : a transformers model whose attention goes through the registry; to be run without a cache, so
        that the first query of a call is position 0
    train_len : tokens per sequence in pretraining, at least 2

    Raises
    ------
    ModelError
        If the model's attention cannot be tapped.
    """

    def attend(call: AttentionCall) -> Any:
        factor = log_factor(call.query.shape[2], train_len).to(call.query.device)
        scaled = (call.query * factor[:, None]).to(call.query.dtype)
        return replace(call, query=scaled).attend()

    with tap_attention(model, attend):
        yield

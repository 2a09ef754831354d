"""A witness inside the model: the queries and keys that its own attention was given; nothing of ropediag."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask


@dataclass(frozen=True)
class Seen:
    """One call of attention: rotated queries and keys, (head, position, channel), and the scale."""

    query: np.ndarray
    key: np.ndarray
    scaling: float


@contextmanager
def spy(model: Any) -> Iterator[dict[int, Seen]]:
    """Record every layer's call while the model runs; by the index of the layer."""
    seen: dict[int, Seen] = {}

    def attend(module: Any, query: Any, key: Any, value: Any, mask: Any, scaling: float, **more: Any) -> Any:
        arrays = (one[0].double().numpy() for one in (query, key))
        seen[module.layer_idx] = Seen(*arrays, scaling)
        return sdpa_attention_forward(module, query, key, value, mask, scaling=scaling, **more)

    AttentionInterface.register("spy", attend)
    AttentionMaskInterface.register("spy", sdpa_mask)
    before = model.config._attn_implementation
    model.set_attn_implementation("spy")
    try:
        with torch.no_grad():
            yield seen
    finally:
        model.set_attn_implementation(before)


def contributions(seen: Seen, channels: np.ndarray) -> np.ndarray:
    """What each pair adds to each logit: (query_head, pair, query, key), written as the sum that it is."""
    group = len(seen.query) // len(seen.key)
    key = seen.key.repeat(group, axis=0)
    first, second = channels.T
    products = np.einsum("hic,hjc->chij", seen.query, key) * seen.scaling
    return (products[first] + products[second]).swapaxes(0, 1)

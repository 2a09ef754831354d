"""The memory of a training run, by hand for a model of round sizes."""

import pytest
from transformers import LlamaConfig

from ropediag.models.memory import empty_model
from ropediag.tune.memory import training_bytes

CONFIG = LlamaConfig(
    vocab_size=100, hidden_size=20, intermediate_size=40, num_hidden_layers=5, num_attention_heads=2,
    num_key_value_heads=2, head_dim=10, tie_word_embeddings=False,
)  # fmt: skip
WEIGHTS = 2 * 100 * 20 + 5 * (4 * 20 * 20 + 3 * 20 * 40 + 2 * 20) + 20
KEPT, CHECKPOINTED, LOGITS = 5 * 34 * 20, (5 * 2 + 34) * 20, 100 * 10  # bytes a token


@pytest.mark.parametrize(
    ("dtype", "options", "wanted"),
    [
        ("float32", {}, 16 * WEIGHTS + 7 * (KEPT + LOGITS)),
        ("bfloat16", {}, 8 * WEIGHTS + 7 * (KEPT + LOGITS)),
        ("float32", {"checkpointing": True}, 16 * WEIGHTS + 7 * (CHECKPOINTED + LOGITS)),
        ("float32", {"frozen": True}, 4 * WEIGHTS + 7 * (KEPT + LOGITS)),
        ("bfloat16", {"shards": 4}, 4 * WEIGHTS + 7 * (KEPT + LOGITS)),
    ],
)
def test_training_holds_state_activations_and_logits(dtype, options, wanted):
    assert training_bytes(empty_model(CONFIG, dtype), 7, **options) == wanted

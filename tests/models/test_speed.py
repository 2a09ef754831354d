"""Operations of a pass, as PyTorch counts them, of a model without weights as of one with them."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, LlamaConfig

from ropediag.models.memory import empty_model, weight_bytes
from ropediag.models.speed import forward_operations, measure_speed


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("length", [64, 256])
def test_operations_of_a_pass_are_those_counted_less_the_keys_that_come_later(tied, length):
    config = LlamaConfig(
        vocab_size=128, hidden_size=64, intermediate_size=160, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, head_dim=32, tie_word_embeddings=tied, attn_implementation="eager",
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config)
    with FlopCounterMode(display=False) as counter:
        model(input_ids=torch.zeros(2, length, dtype=torch.long), use_cache=False)
    later = 2 * 3 * 4 * 32 * 2 * length**2  # eager attention multiplies all keys, half of them in vain
    assert forward_operations(model, 2, length) == pytest.approx(counter.get_total_flops() - later, rel=0.01)
    shell = empty_model(config, "bfloat16")
    assert forward_operations(shell, 2, length) == forward_operations(model, 2, length)
    assert weight_bytes(shell) == weight_bytes(model) / 2


def test_the_speed_of_this_machine_is_measured():
    speed, where = measure_speed()
    assert 1e8 < speed < 1e17
    assert where

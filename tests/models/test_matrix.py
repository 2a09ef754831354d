"""Families of every kind against their own softmax, rotary tables and shifts of position; some are refused.

The whole list, every causal language model of transformers, is ``benchmarks/model_matrix.py``.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from ropediag.capture import capture_model
from ropediag.errors import RopediagError
from ropediag.models.load import load_model
from ropediag.models.rotation import measure_rotation
from ropediag.store import open_capture
from ropediag.testing.tiny import random_tokens, tiny_model
from ropediag.testing.verify import verify_model

NAMED = [
    "llama",
    "qwen3",
    "gemma3_text",
    "gpt_neox",
    "phi3",
    "cohere2",
    "glm4",
    "deepseek_v3",
    "gpt_oss",
    "olmo2",
]
ODD = {
    "codegen": "attends in a method",
    "gemma3n_text": "layers that share keys",
    "gemma4_text": "heads differ by layer, proportional frequencies",
    "gptj": "attends in a method",
    "granite_swa": "sinks outside the softmax",
    "llama4_text": "chunks, misnamed decoder",
    "mimo_v2_flash": "heads differ by layer",
    "mllama": "layers that attend to images alone",
    "nanochat": "turns the other way",
    "recurrent_gemma": "recurrent layers that position 0 clears",
    "zamba2": "attention modules shared by layers",
}
IMAGES = {
    "glm4v": "sections of the positions, neighbouring channels",
    "llava": "a text model of another type",
    "muse_glimmer": "bases by layer, 0 for none",
    "qwen2_vl": "sections of the positions",
    "qwen3_vl": "interleaved sections of the positions",
}
REFUSED = {
    "deepseek_v4": "50 keys for 40 queries",
    "doge": "a bias of its own",
    "ernie4_5_vl_moe": "the rotation is none that ropediag knows",
    "hrm_text": "8 calls in one pass",
    "hunyuan_v1_dense": "the rotation is none that ropediag knows",
    "roformer": "attention registry",
}


def eager_model(model_type, **overrides):
    model = tiny_model(model_type, **overrides)
    model.set_attn_implementation("eager")
    return model


@pytest.mark.parametrize("model_type", [*NAMED, *ODD, *IMAGES])
def test_a_capture_is_what_the_model_does(model_type):
    ids = random_tokens(24 if model_type == "llama4_text" else 40)
    verified = verify_model(eager_model(model_type), ids)
    assert not verified.failures, verified.errors
    assert verified.config_agrees
    assert np.isfinite(list(verified.errors.values())).all()


@pytest.mark.parametrize("heads", [{}, {"new_decoder_architecture": True, "num_kv_heads": 2}])
def test_falcon_is_heard_where_it_calls_torch(heads):
    verified = verify_model(tiny_model("falcon", **heads), random_tokens(40))
    assert np.isnan(verified.errors.pop("weights"))  # it tells none in this mode
    assert max(verified.errors.values()) < 1e-4 < 0.05 < verified.wrong_shift
    assert verified.config_agrees
    with pytest.raises(RopediagError, match="a bias of its own"):
        verify_model(tiny_model("falcon", alibi=True), random_tokens(40))


@pytest.mark.parametrize("model_type", NAMED)
def test_in_bfloat16_only_rounding_is_added(model_type):
    verified = verify_model(eager_model(model_type).bfloat16(), random_tokens(40))
    assert verified.errors["scores"] < 1e-5  # from the same rounded vectors
    assert verified.errors["weights"] < 0.05
    assert verified.errors["angle"] < 0.03
    assert verified.errors["shift"] < 0.1 < 0.3 < verified.wrong_shift


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("model_type", NAMED)
def test_the_spec_has_the_cosines_of_the_models_own_tables(model_type, dtype):
    model, tables = tiny_model(model_type).to(getattr(torch, dtype)), []
    for module in model.modules():
        if type(module).__name__.endswith("RotaryEmbedding"):
            module.register_forward_hook(lambda _, __, output: tables.append(output))
    rotation = measure_rotation(model, np.array([0, 1, 10]))
    tables.clear()
    with torch.no_grad():
        model(input_ids=random_tokens(40), use_cache=False)
    columns = [torch.cat([*found], -1)[0].double().numpy() for found in tables]  # cosines, then sines
    assert columns
    rounding = 1e-5 if dtype == "float32" else 5e-3
    spec = rotation.spec
    for row in range(len(rotation.layers)):
        for pair in range(spec.pair_count(row)):
            angle = np.arange(40) * spec.inv_freq[row, pair]
            for expected in (np.cos(angle), np.sin(angle)):
                expected = expected * spec.attention_factor[row]
                nearest = min(np.abs(table - expected[:, None]).max(0).min() for table in columns)
                assert nearest < rounding, (row, pair)


@pytest.mark.parametrize("model_type", REFUSED)
def test_what_cannot_be_measured_right_is_refused_and_says_why(model_type, tmp_path):
    with pytest.raises(RopediagError, match=REFUSED[model_type]):
        capture_model(tiny_model(model_type), random_tokens(40), tmp_path / "capture.h5", train_len=16)
    assert not list(tmp_path.iterdir())


RULES = {
    "linear": {"factor": 4.0},
    "dynamic": {"factor": 4.0},
    "yarn": {"factor": 4.0, "original_max_position_embeddings": 256},
    "llama3": {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
               "original_max_position_embeddings": 256},
    "longrope": {"factor": 4.0, "original_max_position_embeddings": 256,
                 "short_factor": [1 + n / 8 for n in range(8)], "long_factor": [1.0 + n for n in range(8)]},
}  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
def test_every_scaling_rule_is_measured_after_the_pass(rule):
    parameters = {"rope_type": rule, "rope_theta": 1e4, **RULES[rule]}
    model = eager_model(
        "phi3" if rule == "longrope" else "llama", rope_parameters=parameters, max_position_embeddings=256
    )
    verified = verify_model(model, random_tokens(40))
    assert not verified.failures, verified.errors
    assert verified.config_agrees


def test_bases_stated_layer_by_layer_are_those_measured():
    verified = verify_model(
        eager_model("granite_swa", layer_rope_theta=[0, 1e4, 5e5, 1e4]), random_tokens(40)
    )
    assert verified.config_agrees
    assert not verified.failures
    assert [verified.rotation.spec.pair_count(row) for row in range(4)] == [0, 8, 8, 8]


def test_a_checkpoint_that_reads_images_is_loaded_and_captured(tmp_path):
    tiny_model("qwen2_vl").save_pretrained(tmp_path / "checkpoint")
    loaded = load_model(str(tmp_path / "checkpoint"))
    path = capture_model(loaded.model, random_tokens(40), tmp_path / "capture.h5", train_len=16)
    with open_capture(path) as capture:
        assert capture.sizes["layer"] == 4
        assert capture.sizes["pair"] == 8


def test_a_model_that_reads_no_tokens_is_refused():
    with pytest.raises(RopediagError, match="pi0 states no vocab_size"):
        capture_model(tiny_model("pi0"), random_tokens(40), "capture.h5", train_len=16)


def test_the_worked_example_in_the_docs_is_the_file_it_shows():
    root = Path(__file__).parents[2]
    shown = (root / "docs" / "add-a-family.md").read_text().split("```python\n")[1].split("```")[0]
    assert shown == (root / "ropediag" / "models" / "families" / "attn_method.py").read_text()
    assert shown.count("\n") <= 40

"""The scaling rules against published values, transformers' own functions and real config files."""

import math

import numpy as np
import pytest

from ropediag import limits, scaling
from ropediag.errors import ConfigError
from ropediag.rope import inv_freq, rotate
from ropediag.scaling import spec_from_config

LLAMA = {
    "model_type": "llama",
    "hidden_size": 256,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "max_position_embeddings": 4096,
}
OWN = {name: value for name, value in LLAMA.items() if name != "model_type"}  # of no class in transformers
RULES = {
    "linear": {"rope_type": "linear", "factor": 4.0},
    "dynamic": {"rope_type": "dynamic", "factor": 2.0},
    "yarn": {"rope_type": "yarn", "factor": 16.0, "original_max_position_embeddings": 2048},
    "yarn, fractional ramp": {
        "rope_type": "yarn",
        "factor": 32.0,
        "original_max_position_embeddings": 4096,
        "truncate": False,
    },
    "yarn, own betas and mscale": {
        "rope_type": "yarn",
        "factor": 40.0,
        "original_max_position_embeddings": 4096,
        "beta_fast": 24.0,
        "beta_slow": 2.0,
        "mscale": 1.0,
        "mscale_all_dim": 0.8,
    },
    "llama3": {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 1024,
    },
    "longrope": {
        "rope_type": "longrope",
        "short_factor": [1.0 + 0.01 * pair for pair in range(32)],
        "long_factor": [1.5 + pair for pair in range(32)],
        "original_max_position_embeddings": 1024,
    },
    "proportional": {"rope_type": "proportional", "partial_rotary_factor": 0.25, "factor": 2.0},
}


@pytest.mark.parametrize("length", [None, 600, 20_000])
@pytest.mark.parametrize("rule", RULES)
def test_rules_equal_those_of_transformers(rule, length):
    rope_utils = pytest.importorskip("transformers.modeling_rope_utils")
    from transformers import LlamaConfig

    parameters = {"rope_theta": 50_000.0, **RULES[rule]}
    config = LlamaConfig(**{k: v for k, v in LLAMA.items() if k != "model_type"}, rope_parameters=parameters)
    function = rope_utils.ROPE_INIT_FUNCTIONS[parameters["rope_type"]]
    expected, attention_factor = function(config, "cpu", seq_len=length)
    spec = spec_from_config({**LLAMA, "rope_parameters": parameters}, length=length)
    np.testing.assert_allclose(spec.inv_freq[1], expected.double().numpy(), rtol=2e-6)
    assert spec.attention_factor[1] == pytest.approx(attention_factor, rel=1e-12)


def test_ntk_bases():
    expected = {2.0: 20221.261689737912, 4.0: 40889.942432, 8.0: 82684.622641, 16.0: 167198.739213}
    assert {s: scaling.ntk_base(128, 1e4, s) for s in expected} == pytest.approx(expected, rel=1e-10)
    slowest = inv_freq(128, scaling.ntk_base(128, 1e4, 8.0))[-1]
    assert inv_freq(128, 1e4)[-1] / slowest == pytest.approx(8)
    cases = {(1.0, 16384): 40889.9424, (2.0, 16384): 72195.86008650938, (2.0, 65536): 327366.39933526}
    for (factor, length), base in cases.items():
        assert scaling.dynamic_ntk_base(128, 1e4, factor, length, 4096) == pytest.approx(base, rel=1e-9)
    assert scaling.dynamic_ntk_base(128, 1e4, 2.0, 100, 4096) == 1e4


def test_yarn_as_coded_differs_from_yarn_as_printed():
    coded = scaling.yarn_inv_freq(128, 1e4, 16.0, 4096)
    printed = scaling.yarn_paper_inv_freq(128, 1e4, 16.0, 4096)
    np.testing.assert_allclose(coded[[30, 45]], [8.5268437730e-03, 1.51771605e-04], rtol=1e-8)
    np.testing.assert_allclose(printed[[30, 45]], [3.9359885907e-03, 9.6425915e-05], rtol=1e-8)
    np.testing.assert_allclose(coded[[0, *range(46, 64)]], printed[[0, *range(46, 64)]], rtol=1e-12)
    plain = inv_freq(128, 1e4)
    np.testing.assert_allclose(coded[:21], plain[:21], rtol=1e-15)
    np.testing.assert_allclose(coded[46:], plain[46:] / 16, rtol=1e-15)


def test_the_paper_ramp_equals_its_definition():
    plain = inv_freq(64, 1e4)
    for pair, frequency in enumerate(scaling.yarn_paper_inv_freq(64, 1e4, 8.0, 2048, 32.0, 1.0)):
        gamma = min(1.0, max(0.0, (2048 * plain[pair] / (2 * math.pi) - 1) / 31))
        assert frequency == pytest.approx((1 - gamma) * plain[pair] / 8 + gamma * plain[pair])


def test_attention_factors():
    expected = {2.0: 1.06931472, 4.0: 1.13862944, 16.0: 1.2772588722239782, 40.0: 1.3688879454}
    assert {s: scaling.yarn_attention_factor(s) for s in expected} == pytest.approx(expected, rel=1e-8)
    assert scaling.yarn_attention_factor(40.0, 1.0, 1.0) == 1.0  # DeepSeek scales its softmax instead
    assert scaling.longrope_attention_factor(32.0, 4096) == pytest.approx(1.1902380714238083, rel=1e-14)


def test_llama3_scaling_and_its_critical_dimensions():
    before = inv_freq(128, 5e5)
    now = scaling.scale_llama3(before, 8.0, 8192)
    expected = [2.1665707635e-03, 8.5675141292e-04, 1.7850781277e-04, 9.5562123540e-05]
    np.testing.assert_allclose(now[[29, 31, 34, 35]], expected, rtol=1e-9)
    divided, kept = np.isclose(now, before / 8), now == before
    assert (int(kept.sum()), int((~kept & ~divided).sum()), int(divided.sum())) == (29, 6, 29)
    assert limits.critical_dimension(now, 8192) == 64
    assert limits.critical_dimension(now, 131072) == 78
    periods = 2 * np.pi / now
    np.testing.assert_allclose(
        periods[[31, 32, 38, 39]], [7333.732, 11971.480, 121627.924, 149306.839], rtol=1e-6
    )
    assert limits.angle_range_limit(now, before, 8192) == pytest.approx(65_536)


def test_generations_of_configs_agree():
    new = {**LLAMA, "rope_parameters": {"rope_theta": 5e5, **RULES["llama3"]}}
    old = {**LLAMA, "rope_theta": 5e5, "rope_scaling": RULES["llama3"]}
    older = {**LLAMA, "rope_theta": 5e5, "rope_scaling": {**RULES["llama3"], "type": "llama3"}}
    older["rope_scaling"].pop("rope_type")
    nested = {"model_type": "some_vlm", "text_config": new}
    specs = [spec_from_config(config) for config in (new, old, older, nested)]
    for spec in specs:
        assert np.array_equal(spec.inv_freq, specs[0].inv_freq)
        assert spec.base == 5e5
    assert spec_from_config(LLAMA).base == 1e4  # the first Llama configs say nothing of RoPE
    unscaled = spec_from_config(new, scaled=False, base=1e4)
    np.testing.assert_array_equal(unscaled.inv_freq[0], inv_freq(64, 1e4))


@pytest.mark.parametrize(
    ("config", "pairs", "head_dim", "first"),
    [
        ({"model_type": "gpt_neox", "rotary_pct": 0.25, "rotary_emb_base": 10000}, 8, 64, [0, 8]),
        ({"model_type": "phi", "partial_rotary_factor": 0.5}, 16, 64, [0, 16]),
        (
            {"model_type": "glm", "head_dim": 64, "rope_parameters": {"partial_rotary_factor": 0.5}},
            16,
            64,
            [0, 1],
        ),
        ({"model_type": "qwen3", "head_dim": 128, "rope_theta": 1e6}, 64, 128, [0, 64]),
        ({"model_type": "chatglm", "kv_channels": 128, "rope_ratio": 500}, 32, 128, [0, 1]),
        ({"model_type": "gptj", "rotary_dim": 32}, 16, 64, [0, 1]),
        ({"model_type": "roformer"}, 32, 64, [0, 1]),
        ({"model_type": "deepseek_v3", "qk_rope_head_dim": 32, "qk_nope_head_dim": 96}, 16, 128, [96, 112]),
    ],
)
def test_partial_rotation_is_read_from_every_spelling(config, pairs, head_dim, first):
    spec = spec_from_config({**LLAMA, **config})
    assert spec.pair_count(0) == pairs
    assert spec.head_dim.tolist() == [head_dim] * 2
    assert spec.channels[0, 0].tolist() == first
    np.testing.assert_allclose(spec.inv_freq[0], inv_freq(2 * pairs, spec.base))


def test_layer_types_rotate_each_in_their_own_way():
    new = {
        **OWN,
        "num_hidden_layers": 6,
        "sliding_window": 512,
        "layer_types": ["sliding_attention"] * 5 + ["full_attention"],
        "per_layer_config": {"5": {"head_dim": 128}},
        "rope_parameters": {
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
            "full_attention": {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1e6},
        },
    }
    spec = spec_from_config(new)
    assert [spec.pair_count(layer) for layer in (0, 5)] == [32, 64]
    assert spec.base == 1e6  # of the layers that see everything
    assert np.count_nonzero(spec.inv_freq[5]) == 16
    np.testing.assert_allclose(spec.inv_freq[5, :16], inv_freq(128, 1e6)[:16])
    old = {**OWN, "num_hidden_layers": 6, "rope_theta": 1e6, "rope_local_base_freq": 1e4}
    old |= {
        "sliding_window_pattern": 6,
        "sliding_window": 512,
        "rope_scaling": {"rope_type": "linear", "factor": 8.0},
    }
    spec = spec_from_config(old)
    np.testing.assert_allclose(spec.inv_freq[[0, 5], 1], [1e4 ** (-1 / 32), 1e6 ** (-1 / 32) / 8])


@pytest.mark.parametrize(
    "change",
    [
        {"rope_theta": 1e4, "no_rope_layers": [1, 0]},
        {"rope_theta": 1e4, "no_rope_layer_interval": 2},
        {"rope_theta": 1e4, "layer_types": ["full_attention", "linear_attention"]},
        {"rope_theta": 1e4, "layers_block_type": ["hybrid", "mamba"]},
        {"rope_theta": 1e4, "attn_layer_indices": [0]},
        {"model_type": "cohere2", "rope_theta": 1e4, "sliding_window": 64, "sliding_window_pattern": 2},
    ],
)
def test_layers_without_rope_are_empty(change):
    spec = spec_from_config({**OWN, **change})
    assert [spec.pair_count(0), spec.pair_count(1)] == [32, 0]
    x = np.ones((1, 64))
    assert np.array_equal(rotate(x, np.array([9]), spec.inv_freq[1], spec.channels[1]), x)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "gpt2", "n_layer": 2, "n_embd": 64, "n_head": 2}, "no RoPE in this config"),
        ({**OWN, "alibi": True, "rope_theta": 1e4}, "no RoPE in this config: alibi is true"),
        ({**OWN, "position_embedding_type": "nope", "rope_theta": 1e4}, "position_embedding_type is 'nope'"),
        ({**OWN, "rope_theta": 1e4, "no_rope_layers": [0, 0]}, "no layer of this config"),
        ({"rope_theta": 1e4, "num_hidden_layers": 2}, "lacks hidden_size"),
        ({"rope_theta": 1e4, "hidden_size": 64}, "lacks num_hidden_layers"),
        ({**OWN, "partial_rotary_factor": 0.5}, "states no rope_theta"),
        ({**OWN, "rope_theta": 1e4, "layer_types": ["sliding_attention"] * 2}, "and no sliding_window"),
        ({**OWN, "rope_parameters": {"full_attention": 3, "other": {}}}, "must be an object: got 3"),
        ({**OWN, "rope_theta": 1e4, "partial_rotary_factor": 0.01}, "leaves no pair that rotates"),
        ({**OWN, "rope_theta": 1e4, "rotary_dim": 128}, "rotates 128 dimensions of a head of 64"),
        ({**OWN, "rope_theta": 1e4, "hidden_size": 2}, "4 attention heads for 2 dimensions"),
        ({**OWN, "rope_theta": 1e4, "rope_scaling": {"type": "dynamic", "factor": 1e308}}, "is too large"),
        ({**OWN, "model_type": "of_its_own", "rotary_dim": 32}, "states no rope_theta"),
        ({**OWN, "rope_theta": 1e4, "rope_scaling": {"rope_type": "linear"}}, "needs a positive factor"),
        ({**LLAMA, "rope_scaling": {"rope_type": "own"}}, "got 'own'"),
        ({**LLAMA, "rope_scaling": {"rope_type": "linear"}}, "Missing required keys .* {'factor'}"),
        ({**LLAMA, "rope_scaling": {"rope_type": "linear", "factor": -2}}, "got -2"),
        ({**LLAMA, "rope_scaling": {**RULES["longrope"], "short_factor": [1.0]}}, "got 1 for 32 pairs"),
        ({**LLAMA, "rope_theta": 0.5}, "got 0.5"),
        ({**LLAMA, "head_dim": 30, "partial_rotary_factor": 0.5}, "even number: got 15"),
    ],
)
def test_configs_that_cannot_be_read_are_refused(config, message):
    with pytest.raises(ConfigError, match=message):
        spec_from_config(config)

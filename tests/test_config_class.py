"""Configs that leave entries to their class: published ones, and every verified type saved sparsely."""

import json
import logging
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from ropediag.cli import main
from ropediag.config_class import complete_config, list_entries, states_all
from ropediag.errors import ConfigError
from ropediag.prediction import predict
from ropediag.rope import inv_freq
from ropediag.rope_config import KINDS, read_layers
from ropediag.scaling import layer_inv_freq, spec_from_config
from ropediag.testing.tiny import tiny_config

CONFIGS = Path(__file__).parent / "configs"
LAYERS = {  # (head, rotated dimensions, base, window) -> layers
    "gemma3-12b": {(256, 256, 1e4, 1024): 40, (256, 256, 1e6, None): 8},
    "llama4-scout": {(128, 128, 5e5, 8192): 36, (128, 0, 5e5, None): 12},
    "qwen2-upper-layers-slide": {(128, 128, 1e6, None): 21, (128, 128, 1e6, 4096): 7},
    "bamba-9b": {(128, 0, 1e4, None): 29, (128, 64, 1e4, None): 3},
    "recurrentgemma-2b": {(256, 0, 1e4, None): 18, (256, 128, 1e4, 2048): 8},
    "gpt-neox-20b": {(96, 24, 1e4, None): 44},
    "persimmon-8b": {(64, 32, 25_000, None): 36},
    "phi-1.5": {(64, 32, 1e4, None): 24},
    "falcon-7b": {(64, 64, 1e4, None): 32},
    "internvl2-1b": {(64, 64, 1e6, None): 24},
    "llava-1.5-7b": {(128, 128, 1e4, None): 32},
    "llava-1.6-mistral": {(128, 128, 1e6, None): 32},
    "qwen2.5-omni-7b": {(128, 128, 1e6, None): 28},
    "phi3-small-8k": {(128, 128, 1e6, None): 32},
    "phi3-small-128k": {(128, 128, 1e6, None): 32},
    "qwen-7b": {(128, 128, 1e4, None): 32},
}
ANSWERS = {  # at a training length: dimensions trained, limit
    "gemma3-12b": (32_768, 160, 262_144),
    "llama4-scout": (8192, 70, None),
    "qwen2-upper-layers-slide": (32_768, 80, 32_768),
    "bamba-9b": (4096, 46, 4096),
    "recurrentgemma-2b": (8192, 82, None),
    "gpt-neox-20b": (2048, 16, 2048),
    "persimmon-8b": (16_384, 26, 16_384),
    "phi-1.5": (2048, 22, 2048),
    "falcon-7b": (2048, 42, 2048),
    "internvl2-1b": (32_768, 40, 32_768),
    "llava-1.5-7b": (4096, 92, 4096),
    "llava-1.6-mistral": (32_768, 80, 32_768),
    "qwen2.5-omni-7b": (32_768, 80, 32_768),
    "phi3-small-8k": (8192, 68, 8192),
}
REFUSED = {
    "granite4-nope": "no RoPE in this config: position_embedding_type is 'nope'.",
    "short-layer-types": "layer_types in the config has 5 entries for 26 layers.",
    "short-no-rope-layers": "no_rope_layers in the config has 4 entries for 36 layers.",
    "scaling-list": "rope_scaling in the config must be an object of key and value: got [4.0].",
    "scaling-string": "rope_scaling in the config must be an object of key and value: got 'linear'.",
    "nan-factor": "factor in rope_scaling must be a number above 0: got nan.",
}


def read(name):
    return json.loads((CONFIGS / f"{name}.json").read_text())


def verified_types():
    """The types that docs/models.md calls verified, of text and of text and images."""
    page = (Path(__file__).parents[1] / "docs" / "models.md").read_text()
    images = page.split("types are verified:\n\n")[1].split(".\n")[0]
    return re.findall(r"^\| (\S+) \| \d+ of \d+ \|", page, re.M) + re.findall(r"[\w-]+", images)


@pytest.mark.parametrize("name", LAYERS)
def test_a_published_config_that_leaves_entries_out_has_the_layers_of_its_model(name):
    layers = read_layers(complete_config(read(name)))
    found = Counter((layer.head_dim, layer.rotary_dim, layer.base, layer.window) for layer in layers)
    assert found == LAYERS[name]


@pytest.mark.parametrize("name", ANSWERS)
def test_a_published_config_is_predicted_as_its_model(name, capsys):
    train_len, critical, limit = ANSWERS[name]
    found = predict(CONFIGS / f"{name}.json", train_len=train_len)
    assert (found.critical_dimension, found.predicted_limit) == (critical, limit)
    assert capsys.readouterr() == ("", "")


def test_the_linear_rule_of_gemma_3_divides_every_frequency_of_its_full_layers():
    found = predict(CONFIGS / "gemma3-12b.json", train_len=32_768)
    assert found.inv_freq == pytest.approx(inv_freq(256, 1e6) / 8)
    assert found.inv_freq[-1] == pytest.approx(1.3924674e-07)
    assert "set by transformers' Gemma3Config, not in config.json: head_dim" in found.notes[-1]
    assert found.sources["base"] == "transformers' Gemma3Config"


def test_chunks_bound_every_rotating_layer_of_llama_4_and_equal_factors_make_a_step():
    found = predict(CONFIGS / "llama4-scout.json")
    assert (found.train_len, found.law) == (8192, "no lag exceeds the window of 8,192 tokens")
    slower = np.array(found.inv_freq) / np.array(found.pretrain_inv_freq)
    assert set(slower.round(12)) == {1.0, 1 / 16}
    assert found.notes[0] == "12 of 48 layers have no RoPE and are left out"


def test_half_of_a_bamba_head_rotates_and_its_retrieval_bound_is_that_of_64_dimensions():
    assert predict(CONFIGS / "bamba-9b.json", train_len=4096).retrieval_bound == 725


def test_phi_3_small_scales_a_base_of_a_million_by_its_own_factors():
    config = read("phi3-small-128k")
    layer = read_layers(config)[0]
    for length, name in ((8192, "short"), (8193, "long")):
        found, factor = layer_inv_freq(layer, length)
        assert found == pytest.approx(inv_freq(128, 1e6) / config["rope_scaling"][f"{name}_factor"])
        assert factor == config["rope_scaling"][f"{name}_mscale"]
    found = predict(CONFIGS / "phi3-small-128k.json")
    assert (found.train_len, found.critical_dimension) == (8192, 68)
    assert "no class for model_type 'phi3small'" in found.notes[-1]


@pytest.mark.parametrize(("length", "alpha"), [(1, 1), (8192, 1), (8193, 3), (16_384, 3), (32_768, 7)])
def test_the_first_qwen_raises_its_base_in_steps_past_its_length(length, alpha):
    found = predict(CONFIGS / "qwen-7b.json", train_len=8192, target_len=max(length, 2), retrieval=False)
    assert found.inv_freq == pytest.approx(inv_freq(128, 1e4 * alpha ** (128 / 126)))
    assert "the qwen_ntk rule changes frequencies with the length" in found.notes[0]


@pytest.mark.parametrize("name", REFUSED)
def test_a_config_that_cannot_be_read_ends_in_one_true_line_and_status_2(name, capsys, monkeypatch):
    path = CONFIGS / f"{name}.json"
    monkeypatch.setattr(sys, "argv", ["ropediag", "predict", str(path), "--train-len", "8192"])
    with pytest.raises(SystemExit) as stop:
        main()
    said = capsys.readouterr().err
    assert stop.value.code == 2
    assert said.count("\n") == 1
    assert REFUSED[name] in said


def test_every_verified_type_reads_the_same_saved_in_full_and_as_its_difference_from_the_class():
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity(logging.CRITICAL)
    types = verified_types()
    assert len(types) == len(set(types)) > 160
    for model_type in types:
        small, plain = tiny_config(model_type), CONFIG_MAPPING[model_type]()
        for built in (small, plain):
            try:
                layers = read_layers(list_entries(built))
            except ConfigError:  # the defaults of a few types have no RoPE
                assert built is plain, model_type
                continue
            full, default = built.to_dict(), plain.to_dict()
            sparse = {name: value for name, value in full.items() if value != default.get(name)}
            for saved in (full, built.to_diff_dict(), sparse | {"model_type": model_type}):
                written = json.loads(json.dumps(saved, default=str))
                assert read_layers(complete_config(written)) == layers, model_type


COMPLETE = {  # as published, in the words of transformers 4 and 5
    "llama": {"rope_theta": 5e5, "rope_scaling": None, "rms_norm_eps": 1e-5},
    "llama, scaled": {"rope_parameters": {"rope_theta": 5e5, "rope_type": "yarn", "factor": 4.0}},
    "mistral": {"rope_theta": 1e6, "sliding_window": None, "head_dim": 64},
    "mistral, windowed": {"rope_theta": 1e4, "sliding_window": 512},
    "mixtral": {"rope_theta": 1e6, "sliding_window": 512},
    "qwen2": {"rope_theta": 1e6, "use_sliding_window": False, "sliding_window": 512, "max_window_layers": 2},
    "qwen2, windowed": {"rope_theta": 1e6, "use_sliding_window": True, "sliding_window": 512,
                        "layer_types": ["full_attention", "sliding_attention"] * 2},
    "qwen3": {"rope_theta": 1e6, "head_dim": 32, "use_sliding_window": False, "sliding_window": None,
              "rope_scaling": {"rope_type": "linear", "factor": 2.0}},
    "gpt_neox": {"rotary_emb_base": 25_000, "rotary_pct": 0.25},
    "gpt_neox, saved anew": {"rope_parameters": {"rope_theta": 1e5, "partial_rotary_factor": 0.5}},
}  # fmt: skip
FOREIGN = {"sliding_window": 256, "no_rope_layers": [1, 0, 1, 0], "alibi": True, "rotary_dim": 16}
SIZES = {
    "hidden_size": 256,
    "num_attention_heads": 4,
    "num_hidden_layers": 4,
    "max_position_embeddings": 2048,
}


@pytest.mark.parametrize("name", COMPLETE)
def test_what_is_read_without_its_class_is_what_the_class_would_say(name):
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    def describe(config):
        layers = read_layers(config)
        shapes = [(one.head_dim, one.rotary_dim, one.base, one.rule, one.window) for one in layers]
        return shapes, [layer_inv_freq(one, 5000)[0].tolist() for one in layers]

    model_type = name.split(",")[0]
    config = {"model_type": model_type, **SIZES, **COMPLETE[name]}
    assert states_all(config)
    drawn, alone = np.random.default_rng(0), 0
    for _ in range(60):
        kept = {key: value for key, value in config.items() if drawn.random() < 0.9} | {
            "model_type": model_type
        }
        kept |= {key: value for key, value in FOREIGN.items() if key not in config and drawn.random() < 0.1}
        if states_all(kept):
            alone += 1
            whole = list_entries(CONFIG_MAPPING[model_type].from_dict(json.loads(json.dumps(kept))))
            assert describe(kept) == describe(whole), kept
    assert 5 < alone < 60


def test_a_key_that_the_class_does_not_know_changes_nothing():
    plain = {"model_type": "llama", **SIZES, "rope_theta": 1e4}
    layers = read_layers(complete_config({**plain, "rms_norm_eps": 1e-6}))
    for key, value in FOREIGN.items():
        found = read_layers(complete_config({**plain, key: value}))
        assert [one.rotary_dim for one in found] == [one.rotary_dim for one in layers], key
        assert [one.window for one in found] == [None] * 4, key


def test_a_complete_config_is_predicted_without_torch(tmp_path):
    config = {"model_type": "llama", **SIZES, "rope_theta": 1e4, "torch_dtype": "bfloat16"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    program = "import sys; from ropediag.prediction import predict; predict(sys.argv[1], train_len=512)"
    program += "; print(*{'torch', 'transformers'} & set(sys.modules))"
    for entries, loaded in ((config, ""), ({**config, "model_type": "phi"}, "torch transformers")):
        (tmp_path / "config.json").write_text(json.dumps(entries))
        done = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path)], check=True, capture_output=True, text=True
        )
        assert " ".join(sorted(done.stdout.split())) == loaded


def test_an_original_length_that_only_the_class_fills_in_is_no_training_length():
    rule = {"rope_type": "yarn", "factor": 4.0}
    config = {"model_type": "qwen2", **SIZES, "rope_theta": 1e4, "rope_scaling": rule}
    assert [layer.original_len for layer in read_layers(complete_config(config))] == [None] * 4
    stated = {**config, "rope_scaling": {**rule, "original_max_position_embeddings": 512}}
    assert [layer.original_len for layer in read_layers(complete_config(stated))] == [512] * 4


def test_layers_that_a_file_numbers_with_leading_zeros_have_their_own_heads():
    layers = read_layers(complete_config({"model_type": "gemma4_text"}))
    full = [layer.head_dim for layer in layers if layer.window is None]
    assert full == [512] * 5
    assert {layer.head_dim for layer in layers if layer.window} == {256}


@pytest.mark.parametrize(
    ("rule", "key"),
    [
        ({"rope_type": "linear", "factor": 2.0, "beta_fast": 32}, "beta_fast"),
        ({"rope_type": "yarn", "factor": 2.0, "facto": 2.0}, "facto"),
        ({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 512, "truncate": False}, "truncate"),
        ({"type": "default", "factor": 4.0}, "factor"),
        ({"type": "longrope", "short_factor": [1.0] * 32, "long_factor": [2.0] * 32, "attn_factor": 1.2},
         "attn_factor"),
    ],
)  # fmt: skip
def test_a_key_that_a_scaling_rule_does_not_take_is_an_error_that_names_it(rule, key):
    config = {"model_type": "llama", **SIZES, "rope_theta": 1e4, "rope_scaling": rule}
    with pytest.raises(ConfigError, match=f"does not take {key}: got "):
        read_layers(complete_config(config))
    with pytest.raises(ConfigError, match=f"does not take {key}: got "):
        predict(base=1e4, train_len=512, rotary_dim=64, scaling=rule)


PUBLISHED_RULES = {
    "deepseek_v3": {"beta_fast": 32, "beta_slow": 1, "factor": 40, "mscale": 1.0, "mscale_all_dim": 1.0,
                    "original_max_position_embeddings": 4096, "type": "yarn"},
    "llama": {"factor": 16.0, "finetuned": True, "original_max_position_embeddings": 4096, "type": "yarn"},
    "gpt_oss": {"beta_fast": 32.0, "beta_slow": 1.0, "factor": 32.0, "original_max_position_embeddings": 4096,
                "rope_type": "yarn", "truncate": False},
    "hunyuan_v1_dense": {"alpha": 1000.0, "beta_fast": 32, "beta_slow": 1, "factor": 1.0, "mscale": 1.0,
                         "mscale_all_dim": 1.0, "type": "dynamic"},
    "qwen2_vl_text": {"type": "mrope", "mrope_section": [16, 24, 24]},
    "ministral3": {"beta_fast": 32.0, "beta_slow": 1.0, "factor": 16.0, "llama_4_scaling_beta": 0.1,
                   "mscale": 1.0, "mscale_all_dim": 1.0, "original_max_position_embeddings": 16384,
                   "rope_theta": 1e6, "rope_type": "yarn", "type": "yarn"},
}  # fmt: skip


@pytest.mark.parametrize("model_type", PUBLISHED_RULES)
def test_rules_as_published_are_read_with_all_their_keys(model_type):
    spec = spec_from_config({"model_type": model_type, "rope_scaling": PUBLISHED_RULES[model_type]})
    assert np.isfinite(spec.inv_freq).all()


def test_hunyuan_s_alpha_is_a_larger_base_at_every_length():
    rule = PUBLISHED_RULES["hunyuan_v1_dense"]
    config = {"model_type": "hunyuan_v1_dense", "head_dim": 128, "rope_theta": 1e4, "rope_scaling": rule}
    for length in (None, 100_000):
        spec = spec_from_config(config, length=length)
        assert spec.inv_freq[0] == pytest.approx(inv_freq(128, 1e4 * 1000 ** (128 / 126)))


BAD = [
    None,
    True,
    -1,
    0,
    1.5,
    3,
    1e400,
    float("nan"),
    10**400,
    "",
    "ten",
    [],
    [1],
    ["a"],
    {},
    {"a": 1},
    {"a": {}},
]


@pytest.mark.parametrize("model_type", ["of_no_class", "llama", "gemma3_text", "dbrx"])
def test_a_value_of_any_kind_under_any_key_ends_in_an_answer_or_in_one_line(model_type, recwarn):
    rule = {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 512}
    config = {**SIZES, "rope_theta": 1e4, "rope_scaling": rule}
    answered = refused = 0
    said: list[str] = []
    for key in sorted({key for _, _, keys in KINDS for key in keys} - {"model_type"}):
        for value in BAD:
            for entries in ({**config, key: value}, {**config, "rope_scaling": {**rule, key: value}}):
                try:
                    spec_from_config({**entries, "model_type": model_type}, length=2048)
                    answered += 1
                except ConfigError as error:
                    refused += 1
                    said.append(str(error))
    assert not [message for message in said if "\n" in message]
    assert answered > 100
    assert refused > 500
    assert not [warning for warning in recwarn if issubclass(warning.category, RuntimeWarning)]

"""The measured rotation against the models' own projections, shifts of position, and config formulas."""

import numpy as np
import pytest
import torch

from ropediag.errors import ModelError
from ropediag.models.rotation import TOLERANCE, measure_rotation
from ropediag.models.tap import tap_attention
from ropediag.rope import pair_channels, rotate
from ropediag.scaling import spec_from_config
from tests.families import FAMILIES, tiny_model, tokens

SAMPLES = np.array([0, 1, 10, 200, 4000])
NORMED = {"qwen3": "q_norm"}  # where the pre-rotary query leaves the layer; elsewhere the projection itself
WRONG = {"half": "interleaved", "interleaved": "half"}


def tapped_query(model, ids, positions):
    """Queries and keys of layer 0, (head, position, head_dim), and the scaling."""
    found = []

    def keep(call):
        if call.layer == 0:
            found.append((call.query[0].double().numpy(), call.key[0].double().numpy(), call.scaling))
        return call.attend()

    with torch.no_grad(), tap_attention(model, keep):
        model(ids, position_ids=positions)
    return found[0]


def pre_rotary_query(model, family, ids):
    """Queries of layer 0 before rotation, taken from the projection (or its norm) by a hook."""
    attention = (
        model.base_model.layers[0].attention if family == "gpt_neox" else model.base_model.layers[0].self_attn
    )
    module = (
        attention.query_key_value
        if family == "gpt_neox"
        else getattr(attention, NORMED.get(family, "q_proj"))
    )
    kept = []
    handle = module.register_forward_hook(lambda _, __, output: kept.append(output.double().numpy()))
    with torch.no_grad():
        model(ids)
    handle.remove()
    size = attention.head_dim if family != "gpt_neox" else attention.head_size
    output = kept[0][0]
    if family == "gpt_neox":  # fused: per head query, key, value
        return output.reshape(len(output), -1, 3 * size)[..., :size].transpose(1, 0, 2)
    return output.reshape(len(output), -1, size).transpose(1, 0, 2)


@pytest.mark.parametrize("family", FAMILIES)
def test_rotating_the_projection_gives_the_tapped_query(family):
    model, ids = tiny_model(family), tokens(50)
    spec = measure_rotation(model, SAMPLES).spec
    tapped, _, _ = tapped_query(model, ids, torch.arange(50)[None])
    still = pre_rotary_query(model, family, ids)
    count = spec.pair_count(0)
    geometry = (np.arange(50), spec.inv_freq[0, :count])
    again = rotate(still, *geometry, spec.channels[0, :count], spec.attention_factor[0])
    assert np.abs(again - tapped).max() < 1e-5 * np.abs(tapped).max()
    wrong = pair_channels(WRONG[spec.layout], 2 * count, head_dim=tapped.shape[-1])
    missed = rotate(still, *geometry, wrong, spec.attention_factor[0])
    assert np.abs(missed - tapped).max() > 0.1 * np.abs(tapped).max()


@pytest.mark.parametrize("family", FAMILIES)
def test_contributions_depend_on_the_lag_alone_under_the_right_pairing_only(family):
    model, ids = tiny_model(family), tokens(40)
    spec = measure_rotation(model, SAMPLES).spec
    count, head_dim = spec.pair_count(0), int(spec.head_dim[0])

    def moved(channels):
        contributions = []
        for shift in (0, 1000):
            query, key, scaling = tapped_query(model, ids, torch.arange(40)[None] + shift)
            group = len(query) // len(key)
            key = np.repeat(key, group, axis=0)
            contributions.append(
                scaling * np.einsum("htpc,hspc->hpts", query[..., channels], key[..., channels])
            )
        return np.abs(contributions[1] - contributions[0]).max() / np.abs(contributions[0]).max()

    assert moved(spec.channels[0, :count]) < 1e-3
    assert moved(pair_channels(WRONG[spec.layout], 2 * count, head_dim=head_dim)) > 0.1


@pytest.mark.parametrize("family", FAMILIES)
def test_measured_geometry_is_what_the_config_says(family):
    model = tiny_model(family)
    rotation = measure_rotation(model, SAMPLES)
    expected = spec_from_config(model.config.to_dict())
    np.testing.assert_allclose(rotation.spec.inv_freq, expected.inv_freq, rtol=1e-6)
    np.testing.assert_array_equal(rotation.spec.channels, expected.channels)
    np.testing.assert_allclose(rotation.spec.attention_factor, expected.attention_factor, rtol=1e-6)
    assert rotation.spec.layout == expected.layout
    assert rotation.residual.max() < 1e-5
    error = np.angle(np.exp(1j * (rotation.angles - rotation.spec.inv_freq[..., None] * SAMPLES)))
    assert np.nanmax(np.abs(error)) < 1e-3


def test_layers_without_rotation_are_found():
    rotation = measure_rotation(tiny_model("cohere2"), SAMPLES)
    assert [rotation.spec.pair_count(row) for row in (0, 1)] == [4, 0]
    assert np.isnan(rotation.angles[1]).all()


def test_dynamic_frequencies_are_those_of_the_longest_position():
    parameters = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}
    model = tiny_model("llama", rope_parameters=parameters, max_position_embeddings=256)
    spec = measure_rotation(model, np.array([0, 1023])).spec
    expected = spec_from_config(model.config.to_dict(), length=1024)
    np.testing.assert_allclose(spec.inv_freq, expected.inv_freq, rtol=1e-5)
    assert spec.inv_freq[0, -1] < 0.9 * spec_from_config(model.config.to_dict(), length=128).inv_freq[0, -1]


def test_bfloat16_is_recognised_and_its_angle_error_shows():
    rotation = measure_rotation(tiny_model("llama").bfloat16(), SAMPLES)
    assert 1e-4 < rotation.residual.max() < TOLERANCE / 2
    error = np.angle(np.exp(1j * (rotation.angles - rotation.spec.inv_freq[..., None] * SAMPLES)))
    assert np.abs(error).max() > 1e-4


def test_an_unknown_rotation_is_refused_with_the_layer(monkeypatch):
    from transformers.models.llama import modeling_llama

    honest = modeling_llama.apply_rotary_pos_emb

    def twice(q, k, cos, sin, unsqueeze_dim=1):
        return honest(*honest(q, k, cos, sin, unsqueeze_dim), cos, sin, unsqueeze_dim)

    monkeypatch.setattr(modeling_llama, "apply_rotary_pos_emb", twice)
    with pytest.raises(ModelError, match="llama, layer 0: the rotation is none that ropediag knows"):
        measure_rotation(tiny_model("llama"), SAMPLES)


def test_a_model_without_rope_is_refused():
    model = tiny_model("gpt2", n_positions=4096)
    with pytest.raises(ModelError, match="gpt2 has no rotary position embedding"):
        measure_rotation(model, SAMPLES)

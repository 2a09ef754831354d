"""A model whose layers lie on several devices is captured as it is in one place."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

import ropediag
from ropediag.errors import ModelError
from ropediag.models.devices import input_device
from ropediag.models.load import check_finite, fingerprint_weights, load_model
from ropediag.testing.tiny import random_tokens, tiny_model

LAYERS = [f"model.layers.{layer}" for layer in range(4)]
PLACES = {
    "the last layers on disk": dict(zip(LAYERS, ("cpu", "cpu", "disk", "disk"), strict=True))
    | {"embed": "cpu"},
    "all layers and the embeddings on disk": dict.fromkeys(LAYERS, "disk") | {"embed": "disk"},
}


@pytest.fixture
def checkpoint(tmp_path):
    tiny_model("llama").save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def spread(checkpoint, places):
    embed = places["embed"]
    others = {"model.embed_tokens": embed, "model.norm": "cpu", "model.rotary_emb": "cpu", "lm_head": "cpu"}
    device_map = {name: place for name, place in (places | others).items() if name != "embed"}
    folder = checkpoint.parent / "offloaded"
    return AutoModelForCausalLM.from_pretrained(checkpoint, device_map=device_map, offload_folder=folder)


@pytest.mark.parametrize("places", PLACES)
def test_a_spread_model_is_captured_as_a_whole_one(checkpoint, places, tmp_path):
    model, whole = spread(checkpoint, PLACES[places]), load_model(str(checkpoint)).model
    assert any(parameter.device.type == "meta" for parameter in model.parameters())
    assert input_device(model).type == "cpu"
    assert fingerprint_weights(model) == fingerprint_weights(whole)
    options = {"train_len": 16, "rows": 4, "name": "same"}
    paths = [ropediag.capture_model(given, random_tokens(60), tmp_path / name, **options)
             for given, name in ((model, "spread.h5"), (whole, "whole.h5"))]  # fmt: skip
    with ropediag.open_capture(paths[0]) as one, ropediag.open_capture(paths[1]) as other:
        assert one.variables == other.variables
        for path in one.variables:
            np.testing.assert_array_equal(one.values(path), other.values(path), err_msg=path)


def test_nan_on_the_disk_is_found(checkpoint):
    broken = tiny_model("llama")
    broken.model.layers[3].mlp.up_proj.weight.data[2, 5] = torch.nan
    broken.save_pretrained(checkpoint)
    with pytest.raises(ModelError, match=r"first in model\.layers\.3\.mlp\.up_proj"):
        check_finite("broken", spread(checkpoint, PLACES["the last layers on disk"]))


def test_transformers_places_the_layers_where_map_is_asked_for(checkpoint, tmp_path):
    model = load_model(str(checkpoint), device="map").model
    path = ropediag.capture_model(model, random_tokens(40), tmp_path / "map.h5", train_len=16, rows=4)
    with ropediag.open_capture(path) as capture:
        assert capture.status == "complete"

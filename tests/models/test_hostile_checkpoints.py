"""A checkpoint that means harm runs no code and reads no file that is not its own."""

import json
import pickle
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ropediag.errors import ConfigError, ModelError, RopediagError
from ropediag.models.load import load_config, load_model
from ropediag.study.config import read_study
from ropediag.text import load_tokens
from ropediag.tune.tokenizer import byte_tokenizer
from tests.families import tiny_model

CODE = """
from pathlib import Path
Path({canary!r}).touch()
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
class Config(LlamaConfig):
    model_type = "evil"
class Model(LlamaForCausalLM):
    config_class = Config
class Tokenizer(PreTrainedTokenizerFast):
    pass
"""
AUTO_MAP = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}


class Touch:
    """Pickled, it makes a file when it is read."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good") / "good"
    tiny_model("llama", vocab_size=256).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def canary(tmp_path):
    """A file that appears if code of the checkpoint runs."""
    path = tmp_path / "canary"
    yield path
    assert not path.exists(), "code of the checkpoint ran"


@pytest.fixture
def model(good, tmp_path, canary):
    """A copy of a good checkpoint, with code beside it that tells when it runs."""
    folder = tmp_path / "model"
    shutil.copytree(good, folder)
    (folder / "evil.py").write_text(CODE.format(canary=str(canary)))
    return folder


def change(path, **changes):
    path.write_text(json.dumps((json.loads(path.read_text()) if path.exists() else {}) | changes))


def test_code_of_a_known_type_is_not_run(model):
    change(model / "config.json", auto_map=AUTO_MAP)
    change(model / "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.Tokenizer", "evil.Tokenizer"]})
    loaded = load_model(str(model))
    assert type(loaded.model).__module__.startswith("transformers.")
    assert type(loaded.tokenizer).__module__.startswith("transformers.")


def test_code_of_an_unknown_type_is_refused(model):
    change(model / "config.json", auto_map=AUTO_MAP, model_type="evil")
    for load in (load_model, load_config):
        with pytest.raises(ModelError, match="cannot load"):
            load(str(model))


def test_a_tokenizer_of_its_own_is_not_run(model):
    change(model / "tokenizer_config.json", tokenizer_class="Tokenizer",
           auto_map={"AutoTokenizer": ["evil.Tokenizer", None]})  # fmt: skip
    loaded = load_model(str(model))
    assert loaded.tokenizer is None or type(loaded.tokenizer).__module__.startswith("transformers.")


@pytest.mark.parametrize(
    "place", ["../good/model.safetensors", "/etc/passwd", "sub/x.safetensors", "notes.txt"]
)
def test_an_index_that_leads_elsewhere_is_refused(model, place):
    names = list(load_file(model / "model.safetensors"))
    index = {"metadata": {}, "weight_map": dict.fromkeys(names, place)}
    (model / "model.safetensors").rename(model / "part.safetensors")
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="as part of the weights: no file beside it"):
        load_model(str(model))


def test_an_index_of_safetensors_cannot_bring_in_pickle(model, canary):
    names = list(load_file(model / "model.safetensors"))
    torch.save({"x": Touch(canary)}, model / "evil.bin")
    index = {"metadata": {}, "weight_map": dict.fromkeys(names, "evil.bin")}
    (model / "model.safetensors").rename(model / "part.safetensors")
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="as pickle"):
        load_model(str(model))


@pytest.mark.parametrize("text", ["{", "[]", '{"weight_map": 3}', "{}"])
def test_an_index_that_is_none_is_named(model, text):
    (model / "model.safetensors.index.json").write_text(text)
    with pytest.raises(ModelError, match="is no index of weights"):
        load_model(str(model))


@pytest.mark.parametrize("allow_pickle", [False, True])
def test_the_index_of_a_pickled_twin_beside_whole_safetensors_is_not_read(model, allow_pickle):
    """As in full clones of many repositories; the twin's parts may be absent, or evil."""
    for part in ("pytorch_model-00001-of-00001.bin", "../elsewhere.bin"):
        index = {"metadata": {}, "weight_map": {"lm_head.weight": part}}
        (model / "pytorch_model.bin.index.json").write_text(json.dumps(index))
        assert load_model(str(model), allow_pickle=allow_pickle).directory == model


def test_other_safetensors_do_not_let_the_index_of_a_pickle_lead_elsewhere(model, canary):
    torch.save({"x": Touch(canary)}, model.parent / "evil.bin")
    (model / "model.safetensors").rename(model / "other.safetensors")
    index = {"metadata": {}, "weight_map": {"lm_head.weight": "../evil.bin"}}
    (model / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="no file beside it"):
        load_model(str(model), allow_pickle=True)


def test_allowed_pickle_holds_tensors_and_nothing_else(model, canary):
    (model / "model.safetensors").unlink()
    torch.save({"x": Touch(canary)}, model / "pytorch_model.bin")
    with pytest.raises(ModelError, match="cannot load"):
        load_model(str(model), allow_pickle=True)


def test_an_adapter_is_not_followed_to_another_model(model, good):
    (model / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(good)}))
    with pytest.raises(ModelError, match=r"holds an adapter.*merge_and_unload"):
        load_model(str(model))


@pytest.mark.parametrize("name", ["model.zip", "model.tar.gz", "model.safetensors", "model.gguf"])
def test_an_archive_is_not_unpacked(good, tmp_path, name):
    path = tmp_path / name
    if name == "model.zip":
        shutil.make_archive(str(tmp_path / "model"), "zip", good)
    else:
        path.write_bytes(b"\x1f\x8b" + bytes(100))
    with pytest.raises(ModelError, match=r"is a file\. Give the checkpoint directory"):
        load_model(str(path))


def test_token_ids_are_numbers_and_never_pickle(tmp_path, canary):
    np.save(tmp_path / "ids.npy", np.array([Touch(canary)], dtype=object), allow_pickle=True)
    with pytest.raises(ConfigError, match=r"ids\.npy"):
        load_tokens(tmp_path / "ids.npy", 1, 1)
    (tmp_path / "raw.npy").write_bytes(pickle.dumps(Touch(canary)))
    canary.unlink(missing_ok=True)
    with pytest.raises(ConfigError, match=r"raw\.npy"):
        load_tokens(tmp_path / "raw.npy", 1, 1)


def test_a_study_is_data(tmp_path, canary):
    path = tmp_path / "study.yaml"
    path.write_text(f"name: !!python/object/apply:builtins.open ['{canary}', 'w']\n")
    with pytest.raises(RopediagError):
        read_study(path)

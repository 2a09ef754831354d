"""Tiny checkpoints on the disk: a good one, and one for each way to be bad."""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel, RoFormerConfig, RoFormerForCausalLM

from ropediag.tune.tokenizer import byte_tokenizer
from tests.families import tiny_model

VOCABULARY = 61


def make_checkpoints(folder: Path) -> None:
    """Fill ``folder`` with one checkpoint of each kind, named after what is wrong with it."""
    good = folder / "good"
    tiny_model("llama", num_attention_heads=3, num_key_value_heads=1).save_pretrained(good)
    with_text = folder / "with-tokenizer"
    tiny_model("llama", vocab_size=256).save_pretrained(with_text)
    byte_tokenizer().save_pretrained(with_text)
    (folder / "empty").mkdir()
    _copy(good, "no-weights").joinpath("model.safetensors").unlink()
    _make_pickled(good)
    _make_unfit(good)
    _make_not_finite(good)
    _make_without_listening_post(folder)
    _change_config(_copy(good, "odd-head"), head_dim=7)
    tiny_model("gpt_neox").save_pretrained(folder / "neox")
    for name, share in (("odd-rotary", 0.32), ("too-wide-rotary", 1.5)):
        changed = {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": share}
        _change_config(_copy(folder / "neox", name), rope_parameters=changed)


def _make_pickled(good: Path) -> None:
    pickled = _copy(good, "pickled")
    torch.save(load_file(pickled / "model.safetensors"), pickled / "pytorch_model.bin")
    (pickled / "model.safetensors").unlink()


def _make_unfit(good: Path) -> None:
    name = "model.layers.1.mlp.up_proj.weight"
    _change_weights(_copy(good, "missing-tensor"), lambda weights: weights.pop(name))
    _change_weights(_copy(good, "wrong-shape"), lambda weights: weights.update({name: torch.ones(5, 48)}))
    weights = _copy(good, "truncated") / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    (_copy(good, "garbled") / "model.safetensors").write_bytes(b"\x00" * 4000)
    (_copy(good, "no-json") / "config.json").write_text("{")


def _make_not_finite(good: Path) -> None:
    def spoil(weights):
        weights["model.layers.0.mlp.down_proj.weight"][3, 3] = torch.nan

    _change_weights(_copy(good, "nan-weights"), spoil)

    def swell(weights):  # finite, but the logits of layer 1 are not
        for projection in "qk":
            weights[f"model.layers.1.self_attn.{projection}_proj.weight"] *= 1e25

    _change_weights(_copy(good, "nan-attention"), swell)

    def swell_on_token_7(weights):  # layer 0, and only where a query and a key are both of token 7
        weights["model.embed_tokens.weight"][:, 0] = 0
        weights["model.embed_tokens.weight"][7] = torch.eye(48)[0]
        query, key = (weights[f"model.layers.0.self_attn.{side}_proj.weight"] for side in "qk")
        query[:, 0] = key[:, 0] = 1e25

    _change_weights(_copy(good, "late-nan"), swell_on_token_7)

    def silence(weights):  # finite, but so large that the norm of layer 1 turns them to zero
        weights["model.layers.0.self_attn.o_proj.weight"] *= 1e30

    _change_weights(_copy(good, "silent-layer"), silence)

    def raise_head(weights):
        weights["model.norm.weight"] *= 1e20
        weights["lm_head.weight"] *= 1e20

    _change_weights(_copy(good, "nan-logits"), raise_head)


def _make_without_listening_post(folder: Path) -> None:
    ends = {"vocab_size": VOCABULARY, "bos_token_id": 0, "eos_token_id": 0}
    sizes = {"n_embd": 16, "n_layer": 1, "n_head": 2}
    GPT2LMHeadModel(GPT2Config(**sizes, **ends)).save_pretrained(folder / "gpt2")
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = RoFormerConfig(**sizes, **ends, is_decoder=True, max_position_embeddings=4096, rope_theta=1e4)
    RoFormerForCausalLM(config).save_pretrained(folder / "roformer")


def _copy(source: Path, name: str) -> Path:
    target = source.parent / name
    shutil.copytree(source, target)
    return target


def _change_config(checkpoint: Path, **changes) -> None:
    path = checkpoint / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _change_weights(checkpoint: Path, change) -> None:
    path = checkpoint / "model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path, metadata={"format": "pt"})

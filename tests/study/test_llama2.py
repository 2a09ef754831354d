"""The study of LLaMA2: run to its end on small random models, and priced from the models' configurations."""

import json
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from ropediag.assets import held_out_text
from ropediag.study.config import read_study
from ropediag.study.estimate import estimate_study
from ropediag.study.run import run_study
from ropediag.tune.metadata import read_metadata
from tests.evaluate.bpe import bpe_tokenizer

STUDY = Path(__file__).parents[2] / "studies" / "llama2-7b.yaml"
SHRINK, SHRINK_REACH = 64, 512  # of training and tuning lengths, of evaluation lengths
SIZES = {  # hidden size, feed-forward part, layers, heads; and the parameters that follow
    "Llama-2-7b-hf": (4096, 11008, 32, 32, 6_738_415_616),
    "Llama-2-13b-hf": (5120, 13824, 40, 40, 13_015_864_320),
}


@pytest.fixture(scope="module")
def study():
    return read_study(STUDY)


def move_parents(study, folder, train_len):
    """The same study of models in a folder, under the names they have on the hub."""
    parents = [
        replace(parent, model=str(folder / parent.name), train_len=train_len) for parent in study.parents
    ]
    return replace(study, parents=tuple(parents))


def test_it_asks_for_the_experiments_of_the_paper(study):
    assert [parent.model for parent in study.parents] == [f"meta-llama/{name}" for name in SIZES]
    assert {(parent.train_len, parent.pretrain_base) for parent in study.parents} == {(4096, 10_000)}
    asked = {(grid.bases, grid.lengths, grid.evaluate_at) for grid in study.grid}
    assert asked == {((500, 1e6), (4096,), 100_000), ((500, 1e6), (16_384,), 1_048_576)}
    assert (study.tune.fsdp, study.tune.dtype, study.tune.gradient_checkpointing) == (True, "bfloat16", True)
    assert study.resources["num_gpus"] == 8


def test_it_runs_to_its_end_on_small_random_models(study, tmp_path):
    tokenizer = bpe_tokenizer()
    for seed, name in enumerate(SIZES):
        torch.manual_seed(seed)
        shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "head_dim": 16}
        heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": len(tokenizer)}
        LlamaForCausalLM(LlamaConfig(**shape, **heads, dtype="bfloat16")).save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
    small = move_parents(study, tmp_path, study.parents[0].train_len // SHRINK)
    grid = [
        replace(
            each,
            lengths=tuple(length // SHRINK for length in each.lengths),
            evaluate_at=each.evaluate_at // SHRINK_REACH,
        )
        for each in study.grid
    ]
    text = (tmp_path / "text.txt",)
    text[0].write_text(held_out_text().read_text(encoding="utf-8")[:60_000], encoding="utf-8")
    small = replace(
        small,
        grid=tuple(grid),
        tune=replace(study.tune, steps=2, tokens=study.tune.tokens // 512, text=text, fsdp=False),
        evaluate=replace(study.evaluate, text=text, least=256, reach=1.5),
    )
    found = run_study(small, tmp_path / "runs", say=lambda line: None)
    assert found.table.sizes["model"] == 10
    assert np.isfinite(found.table.excess).any("position").all()
    for name in ("7b-hf-b500-t64-s0", "13b-hf-b1000000-t256-s0"):
        record = read_metadata(tmp_path / "runs" / "cells" / f"Llama-2-{name}" / "model")
        assert (record.pretrain_base, record.train_len) == (10_000, 64)
    below = found.table.sel(model="Llama-2-7b-hf-b500-t64-s0")
    assert below.base < below.pretrain_base
    assert np.isnan(below.predicted), "below the base of pretraining the law sets no limit"


def test_its_dry_run_needs_nothing_but_the_configurations(study, tmp_path):
    for name, (hidden, wide, layers, heads, _) in SIZES.items():
        config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 32_000,
                  "hidden_size": hidden, "intermediate_size": wide, "num_hidden_layers": layers,
                  "num_attention_heads": heads, "num_key_value_heads": heads, "rms_norm_eps": 1e-5,
                  "max_position_embeddings": 4096, "tie_word_embeddings": False, "torch_dtype": "float16",
                  "hidden_act": "silu", "bos_token_id": 1, "eos_token_id": 2}  # fmt: skip
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(config))
    local = move_parents(study, tmp_path, 4096)
    steps = list(estimate_study(replace(local, tune=replace(local.tune, text=())), tmp_path / "out"))
    kinds = [(step.kind, step.devices) for step in steps]
    assert kinds == [("evaluate", 1)] * 2 + [("tune", 8), ("evaluate", 1)] * 8
    for step in steps:
        name = step.cell.split("-b")[0] if step.kind == "tune" else None
        if name is None:
            continue
        words = shlex.split(step.command)
        assert words[:4] == ["torchrun", "--standalone", "--nproc-per-node", "8"]
        assert {"--fsdp", "--gradient-checkpointing"} <= set(words)
        tokens, parameters = 1000 * 524_288, SIZES[name][-1]
        assert 8 < step.operations / (tokens * parameters) < 12  # forward twice, backward, and attention
        assert 16 * parameters / 8 < step.memory < 80e9  # of one GPU
    longest = [step for step in steps if "--len 1048576" in step.command]
    assert len(longest) == 4
    for step in longest:
        weights = 2 * 2 * SIZES[step.cell.split("-b")[0]][-1]  # its own and its parent's, in bfloat16
        assert 3 * weights < step.memory < 200e9  # more than most GPUs hold
    assert not (tmp_path / "out").exists()

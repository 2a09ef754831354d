"""A study's YAML: what it means, and a clear line for what it cannot mean."""

import json
import math
from pathlib import Path

import pytest

from ropediag.errors import ConfigError
from ropediag.study.cells import Cell, list_cells, plan_tuning
from ropediag.study.config import read_study

STUDIES = Path(__file__).parents[2] / "studies"
SMALL = """
name: small
parents: [demo]
grid:
  - bases: [1e6, 20_000]
    lengths: [128, 512]
  - {bases: 1e6, lengths: 128}
"""


def read(tmp_path: Path, text: str):
    path = tmp_path / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return read_study(path)


def test_cells_are_the_parents_and_the_product_of_each_grid_none_twice(tmp_path):
    config = read(tmp_path, SMALL + "seeds: 2\n")
    tuned = [("demo", base, length) for length in (128, 512) for base in (1e6, 2e4)]
    assert list_cells(config) == [Cell("demo")] + [Cell(*cell, seed) for seed in (0, 1) for cell in tuned]


def test_a_study_without_a_grid_is_one_of_its_parents(tmp_path):
    config = read(tmp_path, "name: small\nparents: [demo, a/b]\n")
    assert list_cells(config) == [Cell("demo"), Cell("a/b")]


def test_rules_without_tuning_need_no_length_and_are_made_once_whatever_the_seeds(tmp_path):
    rules = "[{rule: yarn, factor: 4}, {rule: linear, factor: 2}]"
    config = read(tmp_path, SMALL + f"  - {{untrained: {rules}, evaluate_at: 900}}\nseeds: 2\n")
    found = [cell for cell in list_cells(config) if cell.rule]
    assert [cell.name for cell in found] == ["demo-yarn4-untrained", "demo-linear2-untrained"]
    assert not any(cell.is_parent for cell in found)
    for cell in found:
        run = plan_tuning(cell, config, tmp_path)
        assert (run.steps, run.scaling, run.factor) == (0, cell.rule, cell.factor)


def test_reaches_are_the_bases_by_which_each_parent_gets_there_at_its_own_length(tmp_path):
    parents = "[{name: new, base: 100, length: 256}, {model: a/b, train_len: 4096, pretrain_base: 1e4}]"
    text = f"name: small\nparents: {parents}\ngrid: [{{reaches: [2, 4], bases: 7e6}}]\n"
    tuned = [cell for cell in list_cells(read(tmp_path, text)) if cell.tune_len]
    for parent, base, length in (("new", 100, 256), ("a/b", 1e4, 4096)):
        own = [cell for cell in tuned if cell.parent == parent]
        assert [cell.tune_len for cell in own] == [length] * 3
        assert own[0].base == 7e6
        for cell, reach in zip(own[1:], (2, 4), strict=True):
            turns = math.log(length / 2 / math.pi) / math.log(base)  # reach = 2 pi base' ** turns
            assert 2 * math.pi * cell.base**turns == pytest.approx(reach * length, rel=0.01)
            assert cell.base == float(f"{cell.base:.3g}")


def test_reaches_of_a_parent_whose_pretraining_is_not_stated_are_refused(tmp_path):
    config = read(tmp_path, "name: small\nparents: [demo]\ngrid: [{reaches: 2}]\n")
    with pytest.raises(ConfigError, match="need to know the pretraining of demo"):
        list_cells(config)


def test_a_scaling_rule_is_tuned_at_every_length_and_named(tmp_path):
    grid = "  - {scaling: [{rule: yarn, factor: 4}, {rule: ntk, factor: 2.5}], lengths: [128, 512]}\n"
    names = [cell.name for cell in list_cells(read(tmp_path, SMALL + grid))]
    lengths = [f"demo-{rule}-t{length}-s0" for length in (128, 512) for rule in ("yarn4", "ntk2.5")]
    assert names[-4:] == lengths


def test_a_model_with_two_evaluation_lengths_is_refused(tmp_path):
    config = read(tmp_path, SMALL + "  - {bases: 1e6, lengths: 512, evaluate_at: 4096}\n")
    with pytest.raises(ConfigError, match="demo-b1000000-t512-s0 more than once"):
        list_cells(config)


def test_tokens_that_cannot_be_accumulated_are_refused(tmp_path):
    config = read(tmp_path, SMALL + "tune: {tokens: 384, accumulate: 2}\n")
    with pytest.raises(ConfigError, match="3 windows of 128, which cannot be shared out over 2"):
        plan_tuning(list_cells(config)[1], config, tmp_path)


def test_the_tune_section_reaches_the_tuning_run(tmp_path):
    given = {"dtype": "bfloat16", "gradient_checkpointing": True, "accumulate": 2, "fsdp": True,
             "recall_share": 0.5}  # fmt: skip
    config = read(tmp_path, SMALL + f"tune: {json.dumps(given)}\n")
    tuning = plan_tuning(list_cells(config)[1], config, tmp_path)
    assert {name: getattr(tuning, name) for name in given} == given


def test_names_of_cells_tell_them_apart():
    cells = [Cell("a/demo"), Cell("demo", 1e6, 128), Cell("demo", 1e6, 128, 1), Cell("demo", 690_000.5, 128)]
    assert [cell.name for cell in cells] == ["demo", "demo-b1000000-t128-s0", "demo-b1000000-t128-s1",
                                             "demo-b690000.5-t128-s0"]  # fmt: skip


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_shipped_studies_can_be_read(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for part in ("train", "heldout"):  # what studies/prose.py makes
        (tmp_path / "build" / "prose" / part).mkdir(parents=True)
    config = read_study(path)
    names = [cell.name for cell in list_cells(config)]
    assert config.name == path.stem
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must be a mapping"),
        ("a: [", "is not YAML"),
        ("name: small\ngrid: [{bases: 1e6, lengths: 128}]\n", "lacks the key 'parents'"),
        (SMALL + "colour: red\n", "has no key 'colour'"),
        (SMALL + "tune: {stepz: 3}\n", "has no key 'stepz'"),
        (SMALL + "tune: {steps: many}\n", "wrong type"),
        (SMALL + "tune: {steps: 2.5}\n", "not a whole number"),
        (SMALL + "tune: {steps: 0}\n", "at least 1"),
        (SMALL + "evaluate: {sequences: 1}\n", "at least 2"),
        (SMALL + "evaluate: {reach: 1}\n", "reach above 1"),
        (SMALL + "seeds: 0\n", "seeds must be at least 1"),
        (SMALL.replace("1e6, 20_000", "1"), "above 1"),
        (SMALL.replace("128, 512", "1"), "at least 2"),
        (SMALL.replace("small", "Small Study"), "name"),
        (SMALL.replace("[demo]", "[]"), "parents must not be empty"),
        (SMALL.replace("[demo]", "[3]"), "parents must be a mapping"),
        (SMALL.replace("[demo]", "[{length: 64}]"), "lacks the key 'name'"),
        (SMALL.replace("[demo]", "[{name: new, out: x}]"), "has no key 'out'"),
        (SMALL.replace("[demo]", "[{name: a/b}]"), "a parent's name holds letters"),
        (SMALL.replace("[demo]", "[{name: new, head_dim: 33}]"), "head_dim must be even"),
        (SMALL.replace("[demo]", "[{name: new, steps: few}]"), "wrong type"),
        (SMALL.replace("[demo]", "[{name: new, text: no-such-text}]"), "no such text"),
        (SMALL.replace("[demo]", "[demo, {name: demo}]"), "different names"),
        (SMALL.replace("[demo]", "[{model: a/b, trained: 64}]"), "has no key 'trained'"),
        (SMALL.replace("[demo]", "[{model: a/b, train_len: 1}]"), "train_len must be at least 2"),
        (SMALL.replace("[demo]", "[{model: a/b, pretrain_base: 1}]"), "pretrain_base must be above 1"),
        (SMALL + "  - {lengths: 128}\n", "needs bases, reaches, scaling or untrained"),
        (SMALL + "  - {bases: 1e6}\n", "needs lengths"),
        (SMALL + "  - {reaches: 1}\n", "a reach .* above 1: got 1.0"),
        (
            SMALL.replace("[demo]", "[{name: new, family: gpt}]"),
            "family must be one of llama, qwen3, gpt_neox",
        ),
        (SMALL.replace("[demo]", "[{name: new, partial_rotary_factor: 0.5}]"), "takes family gpt_neox"),
        (SMALL.replace("[demo]", "[{name: new, family: gpt_neox, width: 100}]"), "share out its width"),
        (
            SMALL.replace("[demo]", "[{name: new, family: gpt_neox, partial_rotary_factor: 0.3}]"),
            "even number",
        ),
        (SMALL + "  - {scaling: [{rule: best, factor: 4}], lengths: 128}\n", "one of linear, ntk"),
        (SMALL + "  - {scaling: [{rule: yarn, factor: 1}], lengths: 128}\n", "a number above 1"),
        (SMALL + "  - {scaling: [{rule: yarn}], lengths: 128}\n", "lacks the key 'factor'"),
        (SMALL + "  - {scaling: [yarn], lengths: 128}\n", "scaling must be a mapping"),
        (SMALL + "  - {bases: 1e6, lengths: 64, evaluate_at: 1}\n", "evaluate_at .* at least 2"),
        (SMALL + "tune: {dtype: float8}\n", "tune: dtype must be float32 or bfloat16"),
        (SMALL + "tune: {accumulate: 0}\n", "tune: accumulate must be at least 1"),
        (SMALL + "tune: {lora: 0}\n", "tune: lora must be at least 1"),
        (SMALL + "tune: {lora: 4, fsdp: true}\n", "give --lora or --fsdp, not both"),
        (SMALL + "tune: {lr: 2}\n", "tune: lr must be between 0 and 1"),
        (SMALL + "tune: {recall_share: 2}\n", "tune: recall_share must be between 0 and 1"),
        (SMALL + "tune: {fsdp: maybe}\n", "neither true nor false"),
        (SMALL + "tune: {gradient_checkpointing: 1}\n", "neither true nor false"),
        (SMALL + "evaluate: {trials: -1}\n", "trials must be at least 0"),
        (SMALL + "capture: {}\n", "give length or reach"),
        (SMALL + "capture: {length: 64, reach: 2}\n", "give length or reach"),
        (SMALL + "capture: {length: 1}\n", "length must be at least 2"),
        (SMALL + "capture: {reach: 1}\n", "reach must be a number above 1"),
        (SMALL + "capture: {length: 64, rows: 0}\n", "sequences and rows must be at least 1"),
        (SMALL + "resources: 2\n", "resources maps names"),
    ],
)
def test_what_it_cannot_mean_is_refused(tmp_path, text, words):
    with pytest.raises(ConfigError, match=words):
        read(tmp_path, text)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="no-such"):
        read_study(tmp_path / "no-such.yaml")

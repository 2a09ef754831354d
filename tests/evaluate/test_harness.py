"""Benchmarks: refused without the extra, and handed the model in memory with it."""

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest

from ropediag.errors import ConfigError
from ropediag.evaluate import harness
from ropediag.evaluate.config import EvaluateConfig
from ropediag.evaluate.run import evaluate_checkpoint
from ropediag.models.load import LoadedModel


class Words:
    """What the harness asks of a tokenizer beforehand: a token that ends a text."""

    bos_token_id = None

    def __init__(self, eos_token_id):
        self.eos_token_id = eos_token_id


@pytest.fixture
def stand_in(monkeypatch):
    """Modules with the two names of lm-evaluation-harness that are used, which keep what they are given."""
    seen = {}
    package, models, home = (ModuleType(f"lm_eval{name}") for name in ("", ".models", ".models.huggingface"))

    def simple_evaluate(model, tasks):
        if "nonsense" in tasks:
            raise KeyError("nonsense")
        return {"results": {task: {"acc,none": 0.25} for task in tasks}, "model": model}

    def hflm(**options):
        seen.update(options)
        return seen

    package.simple_evaluate, home.HFLM = simple_evaluate, hflm
    package.__spec__ = ModuleSpec("lm_eval", None)
    for module in (package, models, home):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return seen


def test_without_the_extra_tasks_are_refused_before_a_model_is_loaded(monkeypatch):
    monkeypatch.setattr(harness.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'ropediag\[harness\]'"):
        evaluate_checkpoint(EvaluateConfig(model="nowhere", length=10, tasks=("hellaswag",)))


def test_the_harness_gets_the_model_and_its_tokenizer(stand_in):
    model, tokenizer = object(), Words(1)
    found = harness.run_harness(LoadedModel(model, tokenizer, "toy", None), ["arc_easy", "piqa"])
    assert found == {"arc_easy": {"acc,none": 0.25}, "piqa": {"acc,none": 0.25}}
    assert stand_in == {"pretrained": model, "tokenizer": tokenizer}


@pytest.mark.usefixtures("stand_in")
def test_an_unknown_task_and_an_unfit_tokenizer_are_named():
    with pytest.raises(ConfigError, match="cannot run piqa, nonsense"):
        harness.run_harness(LoadedModel(object(), Words(1), "toy", None), ["piqa", "nonsense"])
    with pytest.raises(ConfigError, match="the tokenizer of toy has no token for the beginning"):
        harness.run_harness(LoadedModel(object(), Words(None), "toy", None), ["piqa"])
    with pytest.raises(ConfigError, match="toy has no tokenizer"):
        harness.run_harness(LoadedModel(object(), None, "toy", None), ["piqa"])

"""Models by hub id: one quick request, or else the local cache, or else one clear line."""

import subprocess
import sys
import time
from types import SimpleNamespace

import httpx
import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

from ropediag.assets import demo_model
from ropediag.capture import capture_model
from ropediag.config import CaptureConfig
from ropediag.errors import ConfigError, ModelError
from ropediag.evaluate import EvaluateConfig, evaluate_model
from ropediag.intervene.config import AblateConfig
from ropediag.intervene.run import ablate_model
from ropediag.models import hub
from ropediag.models.directory import find_directory
from ropediag.models.hub import find_on_hub
from ropediag.models.load import load_config, load_model
from ropediag.models.preflight import check_inputs
from ropediag.tune.tokenizer import byte_tokenizer
from tests.families import tiny_model, tokens


def answer(monkeypatch, what):
    """Let the hub answer with this, or raise it; returns the requests it got."""
    asked = []

    def model_info(self, source, revision=None, timeout=None):
        asked.append((source, revision, timeout))
        if isinstance(what, Exception):
            raise what
        return what

    monkeypatch.setattr(HfApi, "model_info", model_info)
    find_on_hub.cache_clear()
    return asked


def refusal(kind):
    """An error of the hub's own kind."""
    return kind("refused", response=httpx.Response(404, request=httpx.Request("GET", "https://hub")))


def test_the_hub_is_asked_once_and_its_commit_is_what_is_read(monkeypatch):
    asked = answer(monkeypatch, SimpleNamespace(sha="c0ffee"))
    assert find_on_hub("org/name", "main") == {"revision": "c0ffee", "local_files_only": False}
    assert asked == [("org/name", "main", hub.SECONDS)]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            OSError("Name or service not known"),
            "cannot load org/name: no such folder; .* no answer: Name or service",
        ),
        (RepositoryNotFoundError, "cannot load org/name: no such folder, and no such model on the hub"),
        (RevisionNotFoundError, "cannot load org/name: it has no revision v9"),
        (GatedRepoError, "on request only"),
    ],
)
@pytest.mark.parametrize("load", [load_model, load_config])
def test_what_the_hub_does_not_give_is_one_line_after_one_request(monkeypatch, error, words, load):
    asked = answer(monkeypatch, error if isinstance(error, Exception) else refusal(error))
    begun = time.process_time()
    with pytest.raises(ModelError, match=words) as caught:
        load("org/name", revision="v9")
    assert "\n" not in str(caught.value)
    assert len(asked) == 1
    assert time.process_time() - begun < 5


@pytest.mark.parametrize(
    "source", ["absent", "./absent", "a/b/c", "my models/x", "org/name/", "-x/y", "/abs/ent"]
)
def test_a_name_that_is_neither_folder_nor_hub_id_is_said_to_be_neither(source):
    with pytest.raises(ModelError, match="no such folder, and no hub id"):
        find_directory(source, allow_pickle=False)


def test_a_model_in_the_cache_loads_without_the_hub(tmp_path):
    commit = "0123456789abcdef0123456789abcdef01234567"
    place = tmp_path / "models--org--tiny"
    folder = place / "snapshots" / commit
    tiny_model("llama", vocab_size=256).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(commit)
    code = (
        "from ropediag.models.load import load_model\n"
        "loaded = load_model('org/tiny', device='cpu')\n"
        "print(loaded.name, loaded.directory, loaded.tokenizer('a')['input_ids'])\n"
    )
    known = {"HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=known, capture_output=True, text=True, check=False
    )
    assert done.stdout == "tiny None [97]\n", done.stderr


def test_a_revision_is_refused_where_nothing_comes_from_the_hub():
    for make in (CaptureConfig, EvaluateConfig, AblateConfig):
        for model in ("demo", str(demo_model())):
            with pytest.raises(ConfigError, match=r"revision 'main' names a branch, .* leave it out"):
                check_inputs(make(model=model, length=256, revision="main"))
        check_inputs(make(model="org/name", length=256, revision="main"))


def test_a_checkpoint_of_a_base_model_is_said_to_have_no_head(tmp_path):
    tiny_model("llama").model.save_pretrained(tmp_path)
    with pytest.raises(
        ModelError, match=r"a base model without a language-model head \(lm_head.weight is missing\)"
    ):
        load_model(str(tmp_path))


@pytest.mark.parametrize("family", ["llama", "gpt_neox"])
@pytest.mark.parametrize("measure", [capture_model, evaluate_model, ablate_model])
def test_a_base_model_in_memory_is_said_to_have_no_head(tmp_path, family, measure):
    whole = tiny_model(family)
    base = whole.get_submodule(whole.base_model_prefix)
    with pytest.raises(ModelError, match="is a base model without a language-model head"):
        measure(base, tokens(128), out=tmp_path / "x.h5", train_len=64)
    assert list(tmp_path.iterdir()) == []

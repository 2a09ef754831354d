"""A model whose heads several processes share is captured into the file that one process would write."""

import subprocess
import sys

import numpy as np
import pytest

import ropediag
from ropediag.capture.layer import join_heads
from ropediag.errors import ConfigError, ModelError
from ropediag.models.load import load_model
from ropediag.models.ranks import Ranks, check_shares
from ropediag.testing.tiny import random_tokens, tiny_model
from tests.trials import only_long

LENGTH = 300
OPTIONS = ["--train-len", "48", "--rows", "8", "--no-tokens", "--device", "auto"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Give a function from a type to a saved tiny model and some tokens beside it."""

    def save(family):
        path = tmp_path_factory.mktemp(family)
        tokens = np.concatenate([random_tokens(LENGTH, seed) for seed in (0, 1)])
        tiny_model(family).save_pretrained(path)
        np.save(path / "tokens.npy", tokens)
        return path

    return save


def capture(path, out, *options, processes=1):
    words = [sys.executable, "-m"]
    if processes > 1:
        words += ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "-m"]
    words += ["ropediag", "capture", "--model", str(path), "--tokens", str(path / "tokens.npy")]
    words += ["--len", str(LENGTH), "--sequences", "2", "--out", str(out), *OPTIONS, *options]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def assert_same(one, other):
    with ropediag.open_capture(one) as one, ropediag.open_capture(other) as other:
        assert one.variables == other.variables
        assert one.attrs["weight_fingerprint"] == other.attrs["weight_fingerprint"]
        for path in one.variables:
            expected, found = one.values(path), other.values(path)
            if expected.dtype.kind != "f":
                np.testing.assert_array_equal(found, expected, err_msg=path)
                continue
            scale = np.nanmax(np.abs(expected), initial=1e-3)
            np.testing.assert_allclose(found, expected, atol=1e-4 * scale, err_msg=path)


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("llama", ("--keep-qk", "1:3", "--keep-qk", "1:0")),
        only_long("gemma2", ("--layers", "1,2")),
        ("gpt_neox", ("--heads", "3")),  # of which the first process has none
    ],
)
def test_two_processes_write_the_file_of_one(family, options, checkpoint, tmp_path):
    path = checkpoint(family)
    alone = capture(path, tmp_path / "alone.h5", *options)
    assert alone.returncode == 0, alone.stderr
    shared = capture(path, tmp_path / "shared.h5", *options, processes=2)
    assert shared.returncode == 0, shared.stderr
    assert shared.stdout.count("wrote") == 1
    assert_same(tmp_path / "alone.h5", tmp_path / "shared.h5")


def test_each_process_has_its_share_of_the_heads():
    heads = (0, 2, 5, 7)
    assert [Ranks(rank, 2).own(heads, 4) for rank in (0, 1)] == [[0, 2], [1, 3]]
    assert Ranks(1, 4).own(heads, 2) == [0]
    assert Ranks().own(heads, 6) == [0, 2, 5]  # a layer with fewer heads


def test_arrays_are_joined_along_their_heads_whoever_has_some():
    first = {"rows/entropy": np.zeros((2, 5)), "scores/pair_count": np.ones((8, 3))}
    second = {
        "rows/entropy": np.ones((1, 5)),
        "scores/pair_count": np.ones((8, 3)),
        "samples/kept_query": np.ones((1, 9, 4)),
    }
    joined = join_heads([first, {}, second])
    assert joined["rows/entropy"].tolist() == [[0] * 5, [0] * 5, [1] * 5]
    assert joined["scores/pair_count"].shape == (8, 3)
    assert joined["samples/kept_query"].shape == (1, 9, 4)
    assert join_heads([{}, {}]) == {}


def test_a_share_that_is_none_is_refused():
    model = tiny_model("llama")  # 4 query heads, 2 key heads
    check_shares(model, Ranks(0, 2), 2, 1)
    with pytest.raises(ModelError, match="one of 2 processes has 4 query heads and 2 key heads, no equal sh"):
        check_shares(model, Ranks(0, 2), 4, 2)


def test_a_device_is_not_chosen_for_several_processes():
    with pytest.raises(ConfigError, match=r"2 processes share the model.*leave out --device cpu"):
        load_model("demo", device="cpu", processes=2)


def test_more_processes_than_key_heads_are_refused_before_the_weights_are_read(checkpoint):
    path = checkpoint("llama")
    with pytest.raises(ModelError, match="4 processes cannot share 4 query heads and 2 key heads evenly"):
        load_model(str(path), processes=4)

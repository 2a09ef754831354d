"""Token sequences: disjoint, seeded, the same everywhere, and clear about what they cannot do."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from ropediag.assets import held_out_text
from ropediag.errors import ConfigError
from ropediag.text import (
    find_leading,
    hash_tokens,
    leading_tokens,
    load_tokens,
    read_text,
    read_token_sequences,
    tokenize,
)


class CharacterTokenizer:
    """One token a character, its id the code point; keeps the pieces it was given."""

    def __init__(self):
        self.pieces = []

    def __call__(self, piece, add_special_tokens, verbose):
        if not add_special_tokens:
            self.pieces.append(piece)
        return {"input_ids": [ord(character) for character in piece]}


def distinct_text(characters):
    return "".join(chr(0x4E00 + n) for n in range(characters))


@given(
    length=st.integers(1, 40),
    sequences=st.integers(1, 8),
    spare=st.integers(0, 60),
    seed=st.integers(0, 2**32),
)
def test_sequences_are_disjoint_runs_of_the_text(tmp_path_factory, length, sequences, spare, seed):
    path = tmp_path_factory.mktemp("text") / "t.txt"
    path.write_text(distinct_text(length * sequences + spare), encoding="utf-8")
    ids = read_token_sequences([path], CharacterTokenizer(), length, sequences, seed)
    assert ids.shape == (sequences, length)
    assert ids.dtype == np.int64
    assert (np.diff(ids, axis=1) == 1).all()
    assert np.unique(ids).size == ids.size


def test_the_seed_alone_chooses_the_places(tmp_path):
    path = tmp_path / "t.txt"
    path.write_text(distinct_text(5000), encoding="utf-8")
    draws = [read_token_sequences([path], CharacterTokenizer(), 10, 4, seed) for seed in (1, 1, 2)]
    assert (draws[0] == draws[1]).all()
    assert (draws[0] != draws[2]).any()


def test_too_short_a_text_says_what_it_has_and_what_was_wanted(tmp_path):
    path = tmp_path / "t.txt"
    path.write_text("x" * 11)
    with pytest.raises(ConfigError, match=r"11 tokens, and 3 x 4 = 12 were wanted"):
        read_token_sequences([path], CharacterTokenizer(), 4, 3, 0)
    assert read_token_sequences([path], CharacterTokenizer(), 11, 1, 0).shape == (1, 11)


@pytest.mark.parametrize(("length", "sequences"), [(0, 1), (1, 0), (-5, 1)])
def test_a_shape_without_tokens_is_refused(length, sequences):
    with pytest.raises(ConfigError, match="must be at least 1"):
        read_token_sequences(None, CharacterTokenizer(), length, sequences, 0)


def sentencepiece_tokenizer(sample):
    """A tokenizer of Llama 2's kind: a space is put before whatever it is given, and spaces are symbols."""
    own = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    own.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    own.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    special = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=special, max_token_length=8, show_progress=False
    )
    own.train_from_iterator(sample.split(" "), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=own, unk_token="<unk>")


def test_a_long_text_has_the_tokens_of_the_whole_and_decodes_to_itself():
    text = held_out_text().read_text(encoding="utf-8")
    tokenizer = sentencepiece_tokenizer(text[:150_000])
    for sample in (text[:200_000], "word " * 40_000):
        ids = tokenize(sample, tokenizer)
        assert ids.tolist() == tokenizer(sample, add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(ids.tolist()) == sample


@given(st.text(alphabet="ab\né", max_size=200))
def test_a_tokenizer_sees_the_text_once_and_whole(whole):
    tokenizer = CharacterTokenizer()
    assert tokenize(whole, tokenizer).tolist() == [ord(character) for character in whole]
    assert tokenizer.pieces == [whole]


def template_tokenizer(template):
    """A tokenizer of characters with special tokens around a text, such as ``<bos> $A <eos>``."""
    vocabulary = {"<unk>": 0, "<bos>": 1, "<eos>": 2, "<sop>": 3} | {
        c: 4 + n for n, c in enumerate("abcdef \n")
    }
    own = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    own.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    special = [(name, vocabulary[name]) for name in ("<bos>", "<eos>", "<sop>")]
    own.post_processor = processors.TemplateProcessing(single=template, special_tokens=special)
    return PreTrainedTokenizerFast(
        tokenizer_object=own, unk_token="<unk>", bos_token="<bos>", eos_token="<eos>"
    )


@pytest.mark.parametrize(
    ("template", "leading"),
    [("$A", []), ("<bos> $A", [1]), ("<bos> $A <eos>", [1]), ("$A <eos>", []), ("<bos> <sop> $A", [1, 3])],
)
def test_sequences_begin_as_the_tokenizer_begins_a_text_and_never_end_in_eos(tmp_path, template, leading):
    path = tmp_path / "t.txt"
    path.write_text("abcdef\n" * 20)
    tokenizer = template_tokenizer(template)
    plain = template_tokenizer("$A")
    assert leading_tokens(tokenizer).tolist() == leading
    ids = read_token_sequences([path], tokenizer, 10, 3, seed=4)
    text = read_token_sequences([path], plain, 10 - len(leading), 3, seed=4)
    assert ids.tolist() == [[*leading, *row] for row in text.tolist()]
    bare = read_token_sequences([path], tokenizer, 10, 3, seed=4, bos=False)
    assert (bare == read_token_sequences([path], plain, 10, 3, seed=4)).all()
    name = " ".join(plain.convert_ids_to_tokens(leading))
    assert find_leading(ids, tokenizer).count == len(leading)
    assert find_leading(ids, tokenizer).name == name
    found = find_leading(bare, tokenizer)
    assert (found.count, found.name) == (0, "")
    assert found.note == (
        f"read without {name}, with which the model's tokenizer begins a text" if name else ""
    )


def test_bos_is_refused_where_the_tokenizer_puts_none(tmp_path):
    for template in ("$A", "$A <eos>"):
        with pytest.raises(ConfigError, match="puts no special token before a text: leave out --bos"):
            read_token_sequences(None, template_tokenizer(template), 10, 3, seed=4, bos=True)
    with pytest.raises(ConfigError, match="no tokenizer that says how a text begins"):
        find_leading(np.ones((1, 9), dtype=int), None, bos=True)
    with pytest.raises(ConfigError, match="length must be above 2, the leading special tokens: got 2"):
        read_token_sequences(None, template_tokenizer("<bos> <sop> $A"), 2, 1, seed=0)


def test_token_ids_that_are_given_count_as_begun_only_if_all_of_them_are():
    tokenizer = template_tokenizer("<bos> $A")
    begun, mixed = np.array([[1, 5, 6], [1, 7, 8]]), np.array([[1, 5, 6], [5, 7, 8]])
    assert find_leading(begun, tokenizer).count == find_leading(begun, tokenizer, bos=True).count == 1
    assert find_leading(begun, tokenizer, bos=False).count == find_leading(mixed, tokenizer).count == 0
    with pytest.raises(ConfigError, match="token ids do not begin with <bos>"):
        find_leading(mixed, tokenizer, bos=True)


def test_a_folder_stands_for_its_text_files_in_path_order(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / "b" / "two.txt").write_text("two ")
    (tmp_path / "a.txt").write_text("one ")
    (tmp_path / "z.py").write_text("three")
    (tmp_path / ".git" / "config").write_text("hidden")
    (tmp_path / "picture.bin").write_bytes(b"\x00\x01")
    (tmp_path / "latin.txt").write_bytes(b"\xe9t\xe9")
    assert read_text([tmp_path]) == "one two three"
    assert read_text([tmp_path / "z.py", tmp_path / "a.txt"]) == "threeone "


def test_text_that_cannot_be_read_is_named(tmp_path):
    latin = tmp_path / "latin.txt"
    latin.write_bytes(b"ab\xe9t\xe9")
    with pytest.raises(ConfigError, match=r"latin\.txt is not UTF-8 text: .* at byte 2"):
        read_text([latin])
    with pytest.raises(ConfigError, match=r"cannot read the text .*absent"):
        read_text([tmp_path / "absent"])
    with pytest.raises(ConfigError, match="holds no UTF-8 text files"):
        read_text([tmp_path])


def test_no_paths_means_the_bundled_text():
    ids = read_token_sequences(None, CharacterTokenizer(), 500, 3, 7)
    whole = held_out_text().read_text(encoding="utf-8")
    assert all("".join(map(chr, row)) in whole for row in ids)


def test_bundled_text_fills_sixteen_sequences_of_65536_bytes():
    assert len(held_out_text().read_bytes()) >= 16 * 65_536


@pytest.mark.parametrize("dtype", ["uint8", "int32", "<i8", ">i4"])
def test_token_files_are_cut_or_trimmed_to_the_wanted_shape(tmp_path, dtype):
    flat, rows = tmp_path / "flat.npy", tmp_path / "rows.npy"
    np.save(flat, np.arange(100).astype(dtype))
    np.save(rows, np.arange(100).reshape(4, 25).astype(dtype))
    assert load_tokens(flat, 10, 3).tolist() == np.arange(30).reshape(3, 10).tolist()
    assert load_tokens(rows, 10, 3).tolist() == np.arange(100).reshape(4, 25)[:3, :10].tolist()
    assert load_tokens(rows, 10, 3).dtype == np.int64


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.arange(30.0), "must hold integers"),
        (np.arange(24).reshape(2, 3, 4), "on one or two axes: got 3 axes"),
        (np.arange(29), "holds 29 tokens, and 3 x 10 were wanted"),
        (np.zeros((2, 100), int), "holds 2 x 100 tokens"),
        (np.zeros((3, 9), int), "holds 3 x 9 tokens"),
        (-np.ones((3, 10), int), "token ids from -1 to -1"),
        (np.full(30, 2**63, np.uint64), "token ids from 9223372036854775808"),
    ],
)
def test_token_files_that_hold_something_else_are_refused(tmp_path, array, message):
    np.save(tmp_path / "t.npy", array)
    with pytest.raises(ConfigError, match=message):
        load_tokens(tmp_path / "t.npy", 10, 3)


def test_token_files_never_run_code(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "t.npz", ids=np.arange(30))
    for name, reason in {"objects.npy": r"is not a \.npy file", "absent.npy": "No such file"}.items():
        with pytest.raises(ConfigError, match=reason):
            load_tokens(tmp_path / name, 10, 3)
    with pytest.raises(ConfigError, match="got NpzFile"):
        load_tokens(tmp_path / "t.npz", 10, 3)


def test_token_hash_is_of_shape_and_values_only():
    ids = np.array([[1, 2, 3, 4]])
    expected = hashlib.sha256(b"(1, 4)" + b"".join(n.to_bytes(8, "little") for n in (1, 2, 3, 4)))
    assert hash_tokens(ids) == expected.hexdigest()
    assert hash_tokens(ids.astype(">i4")) == hash_tokens(ids)
    assert hash_tokens(np.asfortranarray(ids)) == hash_tokens(ids)
    assert hash_tokens(ids.reshape(2, 2)) != hash_tokens(ids)
    assert hash_tokens(ids + 1) != hash_tokens(ids)


def test_reading_text_loads_no_torch_and_no_tokenizers():
    code = (
        "import sys, ropediag.text; sys.exit(bool({'torch', 'transformers', 'tokenizers'} & {*sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_ids_without_a_tokenizer_begin_with_what_the_config_calls_bos():
    begun, mixed = np.array([[5, 7, 8], [5, 9, 9]]), np.array([[5, 7, 8], [6, 9, 9]])
    found = find_leading(begun, None, bos_id=5)
    assert (found.count, found.name) == (1, "token 5")
    for ids, bos, bos_id in ((mixed, None, 5), (begun, False, 5), (begun, None, 6), (begun, None, None)):
        assert find_leading(ids, None, bos, bos_id).count == 0

"""The byte tokenizer: an id is a byte's value, before and after a trip through AutoTokenizer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers.pre_tokenizers import ByteLevel
from transformers import AutoTokenizer

from ropediag.tune.tokenizer import byte_alphabet, byte_tokenizer


@pytest.fixture(scope="module")
def reloaded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    byte_tokenizer().save_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder)


@given(st.text())
def test_ids_are_bytes_and_decode_to_the_text(reloaded, text):
    for tokenizer in (byte_tokenizer(), reloaded):
        ids = tokenizer(text)["input_ids"]
        assert ids == list(text.encode())
        assert tokenizer.decode(ids) == text


@pytest.mark.parametrize("text", ["  a  b ,c 'll don't", "\r\n\x00\t", "<s></s><|endoftext|>", "▁Ġ\u0120"])
def test_nothing_is_cleaned_up_prefixed_or_special(reloaded, text):
    assert reloaded(text)["input_ids"] == list(text.encode())
    assert reloaded.decode(list(text.encode())) == text


def test_the_vocabulary_is_the_256_bytes(reloaded):
    assert len(reloaded) == 256
    assert reloaded.all_special_tokens == []
    assert sorted(byte_alphabet()) == sorted(ByteLevel.alphabet())


def test_a_megabyte_without_a_line_end_is_no_harder(reloaded):
    assert reloaded("é" * 500_000)["input_ids"] == list("é".encode()) * 500_000

"""Bytes as tokens: a tokenizer of 256 symbols in which a token's id is the byte's value.

It is an ordinary ``tokenizers`` BPE with one symbol a byte and no merges, so that ``AutoTokenizer``
loads it and no code has to travel with a checkpoint. There are no special tokens.
"""

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

VOCABULARY = 256  # one token a byte

# Bytes that the byte-level alphabet shows as themselves; the others take the letters from U+0100 on.
_PRINTABLE = frozenset([*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)])


def byte_alphabet() -> list[str]:
    """List the letter that stands for each byte in a byte-level BPE, in byte order.

    References
    ----------
    Radford et al. 2019 (GPT-2), whose alphabet ``tokenizers`` uses in its ``ByteLevel`` steps.
    """
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in _PRINTABLE else next(others)) for byte in range(VOCABULARY)]


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Build the tokenizer: ``tokenizer(text).input_ids == list(text.encode())`` for every text.

    Its time is linear in the text's length, about a second a megabyte. ``decode`` gives the text back;
    ids cut in the middle of a character decode to U+FFFD.
    """
    vocabulary = {letter: byte for byte, letter in enumerate(byte_alphabet())}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False)

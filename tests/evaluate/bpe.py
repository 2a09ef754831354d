"""A small tokenizer whose tokens are pieces of words, for the prompts of models that read."""

from functools import cache

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from ropediag.assets import held_out_text
from ropediag.evaluate.prompts import MONOTONY, PASSKEY_OPENING


@cache
def bpe_tokenizer(size: int = 400) -> PreTrainedTokenizerFast:
    """Train byte-pair encoding on the beginning of the bundled text and on what prompts are made of."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    text = held_out_text().read_text(encoding="utf-8")[:20_000]
    core.train_from_iterator([text, *[MONOTONY, PASSKEY_OPENING] * 20], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=core)


def bos_tokenizer():
    """Pieces of words, and a template that puts <bos> before a text and <eos> behind it."""
    tokenizer = bpe_tokenizer.__wrapped__()  # its own copy
    tokenizer.add_special_tokens({"bos_token": "<bos>", "eos_token": "<eos>"})
    special = [("<bos>", tokenizer.bos_token_id), ("<eos>", tokenizer.eos_token_id)]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>", special_tokens=special
    )
    return tokenizer

"""What kind of model a configuration describes: the class that builds it, the vocabulary it reads."""

from typing import Any

from ropediag.errors import ModelError


def auto_class(config: Any) -> Any:
    """Choose transformers' auto class: for causal language models, or else for images and text.

    A model that reads images (Qwen2-VL, LLaVA) is captured on text alone, through its text decoder.
    """
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

    kinds = (AutoModelForCausalLM, AutoModelForImageTextToText)
    return next((kind for kind in kinds if type(config) in kind._model_mapping), AutoModelForCausalLM)


def vocabulary_size(model: Any) -> int:
    """Number of token ids that a model reads.

    Raises
    ------
    ModelError
        If its configuration states none.
    """
    size = getattr(model.config.get_text_config(), "vocab_size", None)
    if size is None:
        raise ModelError(f"{model.config.model_type} states no vocab_size, so it is no language model.")
    return int(size)

"""What a run starts from: fitting token ids, what the checkpoint says of its training, a first pass.

Capture and evaluation share these steps; each ends in one clear line if the input cannot be used.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from ropediag.checkpoint import TrainingFlags, read_checkpoint, resolve_training
from ropediag.config_class import list_entries
from ropediag.errors import ConfigError, ModelError
from ropediag.models.directory import short_name
from ropediag.models.kind import vocabulary_size
from ropediag.models.load import LoadedModel, first_statement, load_config, load_tokenizer
from ropediag.models.preflight import check_settings
from ropediag.text import load_tokens, read_token_sequences
from ropediag.theory.phases import TrainingHistory


def read_inputs(config: Any) -> tuple[Any | None, Int[np.ndarray, "sequence position"]]:
    """Read what comes before the weights, so that what is wrong there is refused early.

    Parameters
    ----------
    config : of the run

    Returns
    -------
    The model's tokenizer, None if it has none, and the token ids

    Raises
    ------
    ConfigError, ModelError, CaptureError
        If the config of a model on the hub does not fit the settings, or there are too few tokens. Local
        folders were checked by ``check_inputs``.
    """
    stated, directory = load_config(config.model, revision=config.revision)
    if directory is None:
        check_settings(short_name(config.model), list_entries(stated), {}, config)
    tokenizer = load_tokenizer(config.model, revision=config.revision)
    return tokenizer, read_tokens(config, tokenizer)


def read_tokens(config: Any, tokenizer: Any | None) -> Int[np.ndarray, "sequence position"]:
    """Read token ids from a ``.npy`` file, from text files, or from the bundled text if neither is given.

    Parameters
    ----------
    config : of the run, with ``text``, ``tokens``, ``length``, ``sequences``, ``seed`` and ``bos`` as in
        ``read_token_sequences``; ids of a file are taken as they are
    tokenizer : of the model

    Raises
    ------
    ConfigError
        If there are too few tokens, or text is to be read and the model has no tokenizer.
    """
    if config.tokens is not None:
        return load_tokens(config.tokens, config.length, config.sequences)
    if tokenizer is None:
        raise ConfigError(
            f"{short_name(config.model)} has no tokenizer. Pass token ids with --tokens ids.npy, not text."
        )
    return read_token_sequences(
        config.text or None, tokenizer, config.length, config.sequences, config.seed, config.bos
    )


def take_ids(input_ids: Any, attention_mask: Any | None = None) -> Int[np.ndarray, "sequence position"]:
    """Take token ids as callers have them: an array, a tensor, lists, or what a tokenizer returned.

    Parameters
    ----------
    input_ids : one row a sequence, or one sequence; or a mapping that holds ``input_ids`` and perhaps
        ``attention_mask``
    attention_mask : of the same shape, 1 for each token that counts

    Raises
    ------
    ConfigError
        If these are no token ids, the rows differ in length, or the mask leaves tokens out: padding would be
        counted as text.
    """
    if isinstance(input_ids, Mapping):
        if "input_ids" not in input_ids:
            raise ConfigError(f"a mapping of inputs must hold input_ids: got {sorted(map(str, input_ids))}.")
        attention_mask = input_ids.get("attention_mask") if attention_mask is None else attention_mask
        input_ids = input_ids["input_ids"]
    ids = np.atleast_2d(_as_array(input_ids, "input_ids"))
    if ids.dtype.kind not in "iu" or ids.ndim != 2 or not ids.size:
        raise ConfigError(
            f"input_ids must be whole numbers, (sequence, position): got {ids.dtype} of shape {ids.shape}."
        )
    if attention_mask is not None:
        mask = np.atleast_2d(_as_array(attention_mask, "attention_mask"))
        if mask.shape != ids.shape:
            raise ConfigError(f"attention_mask has shape {mask.shape}, and input_ids {ids.shape}.")
        if not mask.all():
            raise ConfigError(
                f"attention_mask leaves out {int((mask == 0).sum())} of {mask.size} tokens, and padding "
                "would be counted as text. Pass documents one by one, or cut them to one length."
            )
    return ids.astype(np.int64)


def _as_array(values: Any, name: str) -> np.ndarray:
    try:
        return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    except (ValueError, TypeError) as error:  # rows of different length
        raise ConfigError(
            f"the rows of {name} must have one length, without padding: got rows of different length. Pass "
            "documents one by one, or cut them to one length."
        ) from error


def bos_id(model: Any) -> int | None:
    """Return the token id that the model's config calls BOS; None where it names none, or several."""
    found = getattr(model.config.get_text_config(), "bos_token_id", None)
    return found if isinstance(found, int) else None


def check_ids(ids: Int[np.ndarray, "sequence position"], model: Any) -> None:
    """Refuse token ids outside the model's vocabulary.

    Raises
    ------
    ConfigError
    """
    vocabulary = vocabulary_size(model)
    if ids.min() < 0 or ids.max() >= vocabulary:
        raise ConfigError(
            f"token ids must lie in 0 .. {vocabulary - 1}, the model's vocabulary: got {ids.min()} .. "
            f"{ids.max()}."
        )


def read_training(loaded: LoadedModel, flags: TrainingFlags) -> TrainingHistory:
    """Find the phases of a model's training: flags first, then ropediag.json, then the config.

    Raises
    ------
    ConfigError
        If the model has no RoPE, or nothing states a training length.
    """
    metadata = read_checkpoint(loaded.directory)[1] if loaded.directory else {}
    return resolve_training(flags, metadata, list_entries(loaded.model.config))


def run_plain(model: Any, input_ids: Int[Tensor, "sequence position"]) -> Tensor:
    """Logits of the model by itself; a missing head or a config that does not fit shows here.

    Raises
    ------
    ModelError
    """
    try:
        with torch.no_grad():
            output = model(input_ids=input_ids, use_cache=False)
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        raise ModelError(
            f"{model.config.model_type} fails in its own forward pass: {first_statement(error)}. Check the "
            "sizes in its config.json."
        ) from error
    if getattr(output, "logits", None) is None:
        raise ModelError(
            f"{type(model).__name__} is a base model without a language-model head, so there is no loss to "
            "measure. Give the causal language model, as AutoModelForCausalLM loads it."
        )
    return output.logits

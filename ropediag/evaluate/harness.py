"""Standard benchmarks through lm-evaluation-harness, an extra: ``pip install ropediag[harness]``.

The harness runs the model in memory, cuts prompts to the length its config states
(``max_position_embeddings``), and may fetch data sets from the network.
"""

import importlib.util
from collections.abc import Sequence
from typing import Any

from ropediag.errors import ConfigError
from ropediag.models.load import LoadedModel, first_statement


def check_harness() -> None:
    """Refuse benchmarks where the harness is not installed.

    Raises
    ------
    ConfigError
    """
    if importlib.util.find_spec("lm_eval") is None:
        raise ConfigError("tasks need lm-evaluation-harness: pip install 'ropediag[harness]'.")


def run_harness(loaded: LoadedModel, tasks: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Run benchmarks.

    Parameters
    ----------
    loaded : the model, with its tokenizer
    tasks : names of the harness's tasks

    Returns
    -------
    task -> metric -> value, as the harness gives them

    Raises
    ------
    ConfigError
        If the harness is not installed, a task is not known, or the model has no tokenizer with a token for
        the beginning or the end of a text.
    """
    check_harness()
    if loaded.tokenizer is None:
        raise ConfigError(f"{loaded.name} has no tokenizer, which the harness's tasks need.")
    if loaded.tokenizer.bos_token_id is None and loaded.tokenizer.eos_token_id is None:
        raise ConfigError(
            f"the tokenizer of {loaded.name} has no token for the beginning or the end of a text, which the "
            "harness puts before a prompt."
        )
    import lm_eval
    from lm_eval.models.huggingface import HFLM

    try:
        language_model = HFLM(pretrained=loaded.model, tokenizer=loaded.tokenizer)
        return lm_eval.simple_evaluate(model=language_model, tasks=list(tasks))["results"]
    except (KeyError, ValueError, OSError) as error:
        raise ConfigError(f"the harness cannot run {', '.join(tasks)}: {first_statement(error)}") from error

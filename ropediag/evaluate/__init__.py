"""Evaluation: what a model does past its training length, in loss and in recall, beside what theory says.

One metric a file: ``perplexity`` (sliding windows), ``retrieval`` (recall by length and depth, of the lines
and prompts in ``prompts``), ``keytokens`` (the loss of tokens that need long context), ``regression``
(against the parent inside the training length), ``harness`` (standard benchmarks), ``verdict`` (where loss
and recall disagree). ``config`` says what is asked for, ``readers`` checks the models, ``memory`` the length,
``run`` measures, ``result`` holds what came out; ``log_attention`` scales logits with the length.
Names load on first use, so that importing this package costs nothing.
"""

import importlib

_HOME = {
    "EvaluateConfig": "config",
    "Evaluation": "result",
    "evaluate_checkpoint": "run",
    "evaluate_model": "run",
    "scale_attention": "log_attention",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)

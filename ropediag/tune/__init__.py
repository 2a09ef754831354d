"""Training: small models made from text, with what the laws need to know written beside the weights.

One subject a file: ``config`` (what to train), ``corpus`` (the default text), ``recall`` (key-value
lines), ``windows`` (the training windows), ``tokenizer`` (bytes as tokens), ``pretrain`` (the run),
``measure`` (loss and recall of the result), ``metadata`` and ``card`` (what is recorded).
Names load on first use, so that importing this package costs nothing.
"""

import importlib

_HOME = {
    "CheckpointMetadata": "metadata",
    "PretrainConfig": "config",
    "RecallWindows": "recall",
    "byte_tokenizer": "tokenizer",
    "make_recall_windows": "recall",
    "measure_recall": "measure",
    "pretrain_model": "pretrain",
    "read_metadata": "metadata",
    "write_metadata": "metadata",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)

"""How a file was made: model, text and versions, as far as it says."""

import math
from collections.abc import Mapping
from typing import Any

NOTES = {
    "architecture": "architecture",
    "weight_fingerprint": "weights, sha256 of a sample",
    "base": "base",
    "pretrain_base": "base of pretraining",
    "train_len": "training length, tokens",
    "tune_len": "tuning length, tokens",
    "length": "length, tokens",
    "text_hash": "tokens, sha256",
    "seed": "seed",
    "dtype": "data type",
    "device": "device",
    "attention": "attention",
    "ropediag_version": "ropediag",
    "torch_version": "torch",
    "transformers_version": "transformers",
    "created": "begun, UTC",
    "seconds": "wall time, seconds",
    "schema_version": "format",
    "status": "status",
}


def list_facts(attributes: Mapping[str, Any], sequences: int) -> list[tuple[str, str]]:
    """List what the file says of its making, (what, value); what it does not say is left out."""
    facts = [("model", str(attributes.get("model", "unknown"))), ("sequences", f"{sequences:,}")]
    for key, meaning in NOTES.items():
        value = attributes.get(key)
        if value is None or value == "" or (isinstance(value, float) and not math.isfinite(value)):
            continue
        facts.append((meaning, f"{value:,.10g}" if isinstance(value, int | float) else value))
    return facts

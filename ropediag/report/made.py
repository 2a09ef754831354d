"""How a file was made: model, text, versions and the command that makes it again, as far as it says."""

import json
import math
import shlex
from collections.abc import Mapping
from typing import Any

FIELDS = (  # what a command may be given; none of them lets a file from a stranger run code
    "model", "revision", "length", "kind", "pairs", "limit", "factor", "base", "capture", "random", "search",
    "trials", "text", "tokens", "sequences", "layers", "heads", "dtype", "attention", "rows", "seed",
    "train_len", "pretrain_base", "keep_qk", "store_tokens", "excess", "bos",
)  # fmt: skip
FLAGS = {"length": "len", "attention": "attn"}  # where the flag is not the field's name
SWITCHES = {"store_tokens": "--no-tokens", "excess": "--no-excess", "bos": "--no-bos"}  # where it is false
USUAL = {"dtype": "auto", "seed": 0, "rows": 32, "trials": 0}  # left out of the command
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


def write_command(command: str, config: object) -> str | None:
    """Write the command line that makes a file again, each part quoted for a shell.

    Parameters
    ----------
    command : ``capture`` or ``ablate``
    config : the attribute ``config`` of the file, JSON

    Returns
    -------
    None where the file holds no configuration that could be used
    """
    try:
        fields = json.loads(str(config))
        words = [word for name in FIELDS if name in fields for word in _write_flag(name, fields[name])]
    except (LookupError, RecursionError, TypeError, ValueError):
        return None
    return shlex.join(["ropediag", command, *words]) if words else None


def _write_flag(name: str, value: Any) -> list[str]:
    if name in SWITCHES:
        return [SWITCHES[name]] if value is False else []
    if value is None or isinstance(value, bool) or value == "" or value == [] or USUAL.get(name) == value:
        return []
    flag = f"--{FLAGS.get(name, name).replace('_', '-')}"
    if name == "text":
        return [word for path in value for word in (flag, str(path))]
    if name == "keep_qk":
        return [word for layer, head in value for word in (flag, f"{int(layer)}:{int(head)}")]
    if isinstance(value, list):
        return [flag, ",".join(map(str, value))]
    return [flag, f"{value:.10g}" if isinstance(value, float) else str(value)]

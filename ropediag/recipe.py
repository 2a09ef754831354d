"""The command line that makes a file again, from the configuration that the file holds."""

import json
import shlex
from typing import Any

from ropediag.errors import ConfigError
from ropediag.theory.phases import PhaseSpec

FIELDS = (  # what a command may be given; none of them lets a file from a stranger run code
    "model", "revision", "length", "kind", "pairs", "limit", "at", "factor", "base", "capture", "random",
    "search", "trials", "text", "tokens", "sequences", "layers", "heads", "dtype", "attention", "rows",
    "seed", "train_len", "tune_len", "pretrain_base", "phases", "keep_qk", "store_tokens", "excess", "bos",
    "parent", "window", "stride", "tasks", "log_attention", "positions", "stretches", "knee",
)  # fmt: skip
FLAGS = {"length": "len", "attention": "attn", "phases": "phase"}  # where the flag is not the field's name
SWITCHES = {  # (field, value): the flag that says so
    ("store_tokens", False): "--no-tokens",
    ("excess", False): "--no-excess",
    ("bos", False): "--no-bos",
    ("bos", True): "--bos",
    ("log_attention", True): "--log-attention",
}
USUAL = {"dtype": "auto", "seed": 0, "rows": 32, "stretches": 1}  # left out of the command
TRIALS = {"ablate": 0, "evaluate": 8}  # likewise


def write_command(command: str, config: object, figures: object = None) -> str | None:
    """Write the command line that makes a file again, each part quoted for a shell.

    Parameters
    ----------
    command : ``capture``, ``evaluate``, ``ablate`` or ``attribute``
    config : the attribute ``config`` of the file, JSON
    figures : the attribute ``figures`` of an ablation, JSON: files from before there was ``--at`` name there
        the limit that was the default

    Returns
    -------
    None where the file holds no configuration that could be used
    """
    try:
        fields = json.loads(str(config))
        if command == "ablate" and "at" not in fields and fields.get("limit") is None and figures is not None:
            fields["limit"] = json.loads(str(figures)).get("limit")
        usual = USUAL | {"trials": TRIALS.get(command)}
        words = [
            word
            for name in FIELDS
            if name in fields and (fields[name] != usual.get(name) or isinstance(fields[name], bool))
            for word in _write_flag(name, fields[name])
        ]
    except (AttributeError, ConfigError, LookupError, RecursionError, TypeError, ValueError):
        return None
    return shlex.join(["ropediag", command, *words]) if words else None


def _write_flag(name: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [SWITCHES[name, value]] if (name, value) in SWITCHES else []
    if value is None or value == "" or value == []:
        return []
    flag = f"--{FLAGS.get(name, name).replace('_', '-')}"
    if name in ("text", "tasks"):
        return [word for each in value for word in (flag, str(each))]
    if name == "phases":
        return [word for each in value for word in (flag, str(PhaseSpec(**each)))]
    if name == "positions":
        return [flag, ":".join(str(int(each)) for each in value)]
    if name == "keep_qk":
        return [word for layer, head in value for word in (flag, f"{int(layer)}:{int(head)}")]
    if isinstance(value, list):
        return [flag, ",".join(map(str, value))]
    return [flag, f"{value:.10g}" if isinstance(value, float) else str(value)]

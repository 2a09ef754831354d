"""What a checkpoint folder states about its training, and which source states it.

``ropediag.json`` beside a checkpoint holds ``base``, ``pretrain_base``, ``train_len`` and ``tune_len``,
which no config.json can tell apart. Here flags, that file and the config are merged; each number
keeps the name of its source. Lengths are tokens.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ropediag.errors import ConfigError
from ropediag.rope_config import LayerRope

METADATA, CONFIG = "ropediag.json", "config.json"


@dataclass(frozen=True)
class Training:
    """The four numbers the laws need, and where each came from, by name."""

    base: float
    pretrain_base: float
    train_len: int
    tune_len: int
    sources: Mapping[str, str]

    @property
    def trained(self) -> int:
        """Tokens of the longest sequences of pretraining or tuning: all lags below it were seen."""
        return max(self.train_len, self.tune_len)


def read_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read config.json and, if there, ``ropediag.json`` beside it.

    Parameters
    ----------
    path : a checkpoint directory or a config file of any name

    Returns
    -------
    The config, and the metadata, which is empty without the file

    Raises
    ------
    ConfigError
        If a file is missing, unreadable or not a JSON object.
    """
    config = _read_json(path / CONFIG if path.is_dir() else path)
    metadata = (path if path.is_dir() else path.parent) / METADATA
    return config, _read_json(metadata) if metadata.is_file() else {}


def resolve_training(
    flags: Mapping[str, float | None], metadata: Mapping[str, Any], layer: LayerRope
) -> Training:
    """Take each number from the first source that has it: flag, metadata, config, then the default.

    The base is the config's, which the model uses, unless a flag overrides it. ``pretrain_base``
    defaults to the base and ``tune_len`` to ``train_len``. ``max_position_embeddings`` is never taken
    for the training length.

    Raises
    ------
    ConfigError
        If nothing states the training length, a value is not a number, or a flag states another length than
        the metadata.
    """
    known: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for name, fallback, fallback_source in (
        ("base", layer.base, CONFIG),
        ("pretrain_base", None, "same as base"),
        ("train_len", layer.original_len, "original_max_position_embeddings"),
        ("tune_len", None, "same as train_len"),
    ):
        default = {"pretrain_base": known.get("base"), "tune_len": known.get("train_len")}.get(name, fallback)
        stated = None if name == "base" else metadata.get(name)
        if name.endswith("_len"):
            _check_contradiction(name, flags.get(name), metadata)
        found = (("flag", flags.get(name)), (METADATA, stated), (fallback_source, default))
        source, value = next(((source, value) for source, value in found if value is not None), ("", None))
        if value is None:
            raise ConfigError(_explain_missing_length(layer))
        known[name], sources[name] = _check_number(name, value, source), source
    return Training(sources=sources, **known)


def _check_contradiction(name: str, flag: float | None, metadata: Mapping[str, Any]) -> None:
    """Refuse a length that is not the one the checkpoint was made with.

    What another base, or a tuning of an untuned model, would do may be asked.
    """
    lengths = {
        key: _check_number(key, metadata[key], METADATA)
        for key in ("train_len", "tune_len")
        if metadata.get(key) is not None
    }
    stated = lengths.get(name)
    untuned = name == "tune_len" and stated == lengths.get("train_len")
    if flag is not None and stated is not None and flag != stated and not untuned:
        raise ConfigError(
            f"{name} is {flag:,} by its flag and {stated:,} by the checkpoint's {METADATA}, a record of its "
            "training. Leave the flag out, or correct the file."
        )


def _check_number(name: str, value: Any, source: str) -> float | int:
    whole = name.endswith("_len")
    known = isinstance(value, int | float) and not isinstance(value, bool)
    if not known or not abs(value) <= sys.float_info.max or (whole and value != int(value)):
        kind = "a whole number of tokens" if whole else "a finite number"
        raise ConfigError(f"{name} must be {kind}: got {value!r} from {source}. Correct it there.")
    return int(value) if whole else float(value)


def _explain_missing_length(layer: LayerRope) -> str:
    found = "no --train-len, no ropediag.json, no original_max_position_embeddings"
    if layer.max_len:
        found += f" (max_position_embeddings, {layer.max_len}, may be longer than the training was)"
    return (
        f"the training length is not known: {found}. Pass --train-len, tokens of a sequence in pretraining."
    )


def _explain_content(path: Path, error: Exception) -> str:
    with path.open("rb") as file:
        return "it is an HDF5 file" if file.read(4) == b"\x89HDF" else str(error)


def _read_json(path: Path) -> dict[str, Any]:
    if path.suffix == ".h5":
        raise ConfigError(
            f"{path} is a ropediag file by its name, not a config. See what it holds: ropediag info {path}"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"cannot read {path}: {error.strerror}. Pass a checkpoint directory or its config.json; the "
            "config of a model on the hub has to be downloaded first."
        ) from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"{path} is not JSON ({_explain_content(path, error)}). Pass a checkpoint directory or its "
            "config.json."
        ) from error
    if not isinstance(content, dict):
        raise ConfigError(
            f"{path} must hold a JSON object: got a {type(content).__name__}. Correct the file."
        )
    return content

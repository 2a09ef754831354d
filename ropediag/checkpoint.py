"""What a checkpoint folder states about its training, and which source states it.

``ropediag.json`` beside a checkpoint holds the phases of its training, which no config.json can tell; older
ones hold ``base``, ``pretrain_base``, ``train_len`` and ``tune_len``. Here flags, that file and the config
are merged; each phase keeps the name of its source. Lengths are tokens.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ropediag.errors import ConfigError
from ropediag.rope import check_base
from ropediag.rope_config import LayerRope, read_layers, widest_layers
from ropediag.theory.phases import ASSUMED, OWN, PhaseSpec, TrainingHistory, read_phases
from ropediag.theory.published import find_published

METADATA, CONFIG = "ropediag.json", "config.json"


@dataclass(frozen=True)
class TrainingFlags:
    """What a user states of a model's training; None and () where nothing is stated.

    Attributes
    ----------
    train_len, tune_len : tokens per sequence in pretraining and in tuning
    pretrain_base : base of pretraining
    phases : the whole list, in place of all other sources
    base, rule : base and scaling rule that the model is to have instead of its own

    Raises
    ------
    ConfigError
        If phases are given together with a length or base of training.
    """

    train_len: int | None = None
    tune_len: int | None = None
    pretrain_base: float | None = None
    phases: tuple[PhaseSpec, ...] = ()
    base: float | None = None
    rule: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        for name in ("train_len", "tune_len", "pretrain_base"):
            if self.phases and getattr(self, name) is not None:
                flag = "--" + name.replace("_", "-")
                raise ConfigError(f"--phase states the whole training: leave out {flag}.")


NO_FLAGS = TrainingFlags()


def flags_of(config: Any) -> TrainingFlags:
    """Return what the settings of a run state of the model's training."""
    return TrainingFlags(config.train_len, config.tune_len, config.pretrain_base, tuple(config.phases))


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
    flags: TrainingFlags, metadata: Mapping[str, Any], config: Mapping[str, Any]
) -> TrainingHistory:
    """Find the phases of a model's training.

    In this order: flags, ``ropediag.json``, what is published of the model, the config, an assumption.

    Parameters
    ----------
    flags : what the user states
    metadata : of ``ropediag.json``, empty without one
    config : the model's, completed by its class. ``original_max_position_embeddings`` of a scaling rule is
        the length of pretraining; without it ``max_position_embeddings`` is taken for it, and called an
        assumption

    Raises
    ------
    ConfigError
        If nothing states a length, a value is not a number, or a flag contradicts the metadata.
    """
    layers = read_layers(config)
    layer = widest_layers(layers)[0]
    base = layer.base if flags.base is None else flags.base
    sources = {"base": CONFIG if flags.base is None else "flag"}
    notes: tuple[str, ...] = ()
    if flags.phases:
        if metadata:
            notes = (f"--phase replaces the training that {METADATA} records",)
        return _name_sources(TrainingHistory(flags.phases, base, sources, notes))
    _check_flags(flags)
    for name in ("train_len", "tune_len"):
        _check_contradiction(name, getattr(flags, name), metadata)
    phases = _read_recorded(metadata, layer)
    if not phases and flags.train_len is None:
        phases, notes = _read_published(flags, config)
    phases = phases or _assume_phases(flags, layer)
    if base != layer.base:  # what leaves the base to the model means the model's own
        phases = tuple(replace(phase, base=phase.base or layer.base) for phase in phases)
    if flags.pretrain_base is not None:
        phases = (replace(phases[0], base=flags.pretrain_base), *phases[1:])
        sources["pretrain_base"] = "flag"
    if flags.tune_len is not None and (len(phases) == 1 or phases[-1].length != flags.tune_len):
        rule = flags.rule if flags.rule is not None else OWN
        phases += (PhaseSpec(flags.tune_len, flags.base, rule, label="tuning", source="--tune-len"),)
    recorded = metadata.get("base")
    if recorded is not None and recorded != base:
        notes += (f"{METADATA} records base {recorded:,.10g}, not the {base:,.10g} used here",)
    return _name_sources(TrainingHistory(phases, base, sources, notes))


def _name_sources(history: TrainingHistory) -> TrainingHistory:
    first, last = history.phases[0], history.phases[-1]
    found = {
        "pretrain_base": "same as base" if first.base is None else first.source,
        "train_len": first.source,
        "tune_len": "same as train_len" if len(history.phases) == 1 else last.source,
    }
    return replace(history, sources={**found, **history.sources})


def _read_recorded(metadata: Mapping[str, Any], layer: LayerRope) -> tuple[PhaseSpec, ...]:
    """Read the phases of ``ropediag.json``: a list, or the four numbers of older ones; () without them."""
    if metadata.get("phases") is not None:
        return read_phases(metadata["phases"], METADATA)
    known = {
        name: _check_number(name, metadata[name], METADATA)
        for name in ("base", "pretrain_base", "train_len", "tune_len")
        if metadata.get(name) is not None
    }
    if "train_len" not in known:
        return ()
    length = int(known["train_len"])
    phases = [PhaseSpec(length, known.get("pretrain_base"), label="pretraining", source=METADATA)]
    changed = known.get("base", layer.base) != known.get("pretrain_base", layer.base) or metadata.get(
        "scaling"
    )
    if metadata.get("kind") == "tune" or changed or known.get("tune_len", length) != length:
        rule = OWN if layer.rule != "default" else None
        tuned = int(known.get("tune_len", length))
        phases.append(PhaseSpec(tuned, known.get("base"), rule, label="tuning", source=METADATA))
    return tuple(phases)


def _read_published(
    flags: TrainingFlags, config: Mapping[str, Any]
) -> tuple[tuple[PhaseSpec, ...], tuple[str, ...]]:
    """Read the phases published of a model, and the note on them; a flag replaces what is assumed."""
    found = find_published(config)
    if found is None:
        return (), ()
    stated = flags.tune_len is not None
    return tuple(phase for phase in found.phases if not (stated and phase.source == ASSUMED)), (found.note,)


def _assume_phases(flags: TrainingFlags, layer: LayerRope) -> tuple[PhaseSpec, ...]:
    """Take the length of pretraining from a flag, the scaling rule, or the longest position."""
    for length, source in (
        (flags.train_len, "--train-len"),
        (layer.original_len, "original_max_position_embeddings"),
        ((flags.rule or {}).get("original_max_position_embeddings"), "the scaling rule"),
        (layer.max_len, ASSUMED),
    ):
        if length:
            phases = [
                PhaseSpec(int(_check_number("train_len", length, source)), label="pretraining", source=source)
            ]
            if layer.rule == "longrope":
                phases = _add_long_factors(phases[0], layer)
            return tuple(phases)
    raise ConfigError(
        "the training length is not known: no --train-len, no --phase, no ropediag.json, and neither "
        "original_max_position_embeddings nor max_position_embeddings in the config. Pass --train-len, "
        "tokens of a sequence in pretraining."
    )


def _add_long_factors(first: PhaseSpec, layer: LayerRope) -> list[PhaseSpec]:
    """Take a model of LongRoPE as pretrained without it, then trained with its short and its long factors."""
    phases = [first, replace(first, rule=OWN, label="short factors")]
    if layer.original_len and layer.max_len and layer.max_len > layer.original_len:
        phases.append(PhaseSpec(int(layer.max_len), rule=OWN, label="long factors", source=ASSUMED))
    return phases


def _check_flags(flags: TrainingFlags) -> None:
    """Refuse a length or base that cannot be, by the name of its flag."""
    for name in ("train_len", "tune_len"):
        value = getattr(flags, name)
        if value is not None and value < 2:
            raise ConfigError(f"{name} must be at least 2 tokens: got {value}. Pass a length in tokens.")
    if flags.pretrain_base is not None:
        check_base(flags.pretrain_base, "pretrain_base")


def _check_contradiction(name: str, flag: float | None, metadata: Mapping[str, Any]) -> None:
    """Refuse a length that is not the one the checkpoint was made with.

    What a tuning of an untuned model would do may be asked.
    """
    if metadata.get("phases") is not None:
        phases = read_phases(metadata["phases"], METADATA)
        lengths = {"train_len": phases[0].length, "tune_len": phases[-1].length}
        untuned = len(phases) == 1
    else:
        lengths = {
            key: int(_check_number(key, metadata[key], METADATA))
            for key in ("train_len", "tune_len")
            if metadata.get(key) is not None
        }
        untuned = lengths.get("tune_len") == lengths.get("train_len")
    stated = lengths.get(name)
    if flag is not None and stated is not None and flag != stated and not (untuned and name == "tune_len"):
        raise ConfigError(
            f"{name} is {flag:,} by its flag and {stated:,} by the checkpoint's {METADATA}, a record of its "
            "training. Leave the flag out, correct the file, or state the whole training with --phase."
        )


def _check_number(name: str, value: Any, source: str) -> float | int:
    whole = name.endswith("_len")
    known = isinstance(value, int | float) and not isinstance(value, bool)
    if not known or not abs(value) <= sys.float_info.max or (whole and value != int(value)):
        kind = "a whole number of tokens" if whole else "a finite number"
        raise ConfigError(f"{name} must be {kind}: got {value!r} from {source}. Correct it there.")
    return int(value) if whole else float(value)


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

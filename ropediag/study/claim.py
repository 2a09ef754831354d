"""The record of a study's folder, ``study.json``: what its cells were made with, so that none are mixed.

Cells can be added, and captures; what is there already must have been made as the study asks for now.
Keys that an earlier version did not write mean what they then were: the defaults.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ropediag.errors import ConfigError
from ropediag.store.disk import publish_alone
from ropediag.store.guard import check_writable
from ropediag.study.cells import Cell
from ropediag.study.config import StudyConfig
from ropediag.study.sections import Evaluation, Pretraining, Tuning
from ropediag.tune.config import PretrainConfig

LATER = ("family", "partial_rotary_factor")  # settings of a parent that earlier versions did not write
DEFAULTS = {"tune": asdict(Tuning()), "evaluate": asdict(Evaluation())}


def claim_folder(folder: Path, config: StudyConfig, evaluated: Iterable[Cell], cells: Iterable[Cell]) -> None:
    """Record what the cells in a folder have in common, or refuse a folder with other cells in it.

    Parameters
    ----------
    folder : of the study
    config : what is asked for now
    evaluated, cells : those whose evaluation is in the folder, and all

    Raises
    ------
    ConfigError
        If the folder holds cells that were made otherwise.
    CaptureError
        If it cannot be written to.
    """
    path = folder / "study.json"
    wanted = _record(config, cells)
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if found:
        _compare(folder, config.name, wanted, found, {cell.name for cell in evaluated})
    for name in ("parents", "evaluate_at"):
        wanted[name] = found.get(name, {}) | wanted[name]
    wanted["capture"] = wanted["capture"] or found.get("capture")
    check_writable(path)
    folder.mkdir(parents=True, exist_ok=True)
    publish_alone(path, json.dumps(wanted))


def _record(config: StudyConfig, cells: Iterable[Cell]) -> dict[str, Any]:
    made = [parent for parent in config.parents if isinstance(parent, Pretraining)]
    record = {
        "tune": asdict(config.tune),
        "evaluate": asdict(config.evaluate),
        "capture": None if config.capture is None else asdict(config.capture),
        "parents": {parent.name: _settings(parent) for parent in made},
        "evaluate_at": {cell.name: cell.evaluate_at for cell in cells},
    }
    return json.loads(json.dumps(record, default=str))


def _settings(parent: Pretraining) -> dict[str, Any]:
    heldout = {"heldout": parent.heldout} if parent.heldout else {}
    return parent.run.settings() | heldout


def _compare(
    folder: Path, name: str, wanted: dict[str, Any], found: dict[str, Any], evaluated: set[str]
) -> None:
    refusal = f"Name another folder than {folder} with --out."
    for section, defaults in DEFAULTS.items():
        before = json.loads(json.dumps(defaults, default=str)) | found.get(section, {})
        if before != wanted[section]:
            raise ConfigError(
                f"{folder} holds cells tuned or evaluated otherwise than {name} asks for. {refusal}"
            )
    if found.get("capture") and wanted["capture"] and found["capture"] != wanted["capture"]:
        raise ConfigError(f"{folder} holds captures made otherwise than {name} asks for. {refusal}")
    for parent, settings in found.get("parents", {}).items():
        before = {name: getattr(PretrainConfig, name) for name in LATER} | settings
        if wanted["parents"].get(parent, before) != before:
            raise ConfigError(f"{folder} holds a parent {parent} pretrained otherwise. {refusal}")
    for cell in sorted(evaluated):
        before_at, now = found.get("evaluate_at", {}).get(cell), wanted["evaluate_at"][cell]
        if before_at != now:
            kinds = [f"at {at} tokens" if at else "by the evaluate section" for at in (before_at, now)]
            raise ConfigError(
                f"{cell} in {folder} was evaluated {kinds[0]}, and {name} asks for {kinds[1]}. {refusal}"
            )

"""What a checkpoint's making says about its limits: ``ropediag.json``, beside the weights.

A model's configuration states its base but not the length it was trained at, and after tuning not the
base of its pretraining either; the laws need both. The file is written last, so a checkpoint that has
it is whole.
"""

import hashlib
import importlib.metadata
import json
import platform
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from ropediag.errors import FormatError
from ropediag.store.disk import publish_alone
from ropediag.theory.phases import TrainingHistory

METADATA_NAME = "ropediag.json"


@dataclass(frozen=True)
class CheckpointMetadata:
    """The record of one training run.

    Attributes
    ----------
    kind : str
        ``pretrain`` or ``tune``.
    base, tune_len : float, int (tokens)
        Base and training length of the run that made these weights.
    pretrain_base, train_len : float, int (tokens)
        Base and training length of pretraining: the critical dimension follows from these two.
    steps, tokens : int
        Optimiser steps and the tokens they saw.
    text_hash : str
        SHA-256 of the training text's bytes.
    recall_share : float
        Share of windows with key-value lines.
    seed : int
    loss : dict
        What was measured after training, each entry with its unit in its name.
    versions, machine : dict
        Package versions; device, threads and the type computed in: with the seed they fix the weights.
    command : str
        What to type to make the checkpoint again.
    weights_hash : str
        SHA-256 of ``model.safetensors``, as ``sha256sum`` prints it: whether the file is whole.
    weight_fingerprint : str or None
        What a capture of this model records under this name: which checkpoint a capture is of. None where the
        weights were sharded over processes, and in older records.
    parent : dict or None
        Of a tuned model: name and weights_hash of the one it was tuned from.
    scaling : dict or None
        Rule and factor, where tuning changed more than the base.
    bos : str
        Special tokens with which the training windows began, as text; empty if none.
    phases : list of dict or None
        All phases of training, oldest first, the last one this run, as ``record_phases`` writes them. None
        in older records.
    """

    kind: str
    base: float
    tune_len: int
    pretrain_base: float
    train_len: int
    steps: int
    tokens: int
    text_hash: str
    recall_share: float
    seed: int
    loss: dict
    versions: dict
    machine: dict
    command: str
    weights_hash: str
    weight_fingerprint: str | None = None
    parent: dict | None = None
    scaling: dict | None = None
    bos: str = ""
    phases: list | None = None


def record_phases(history: TrainingHistory) -> list[dict[str, Any]]:
    """List phases as the record keeps them; the record itself is the source of those that a flag stated."""
    found = []
    for phase in history.phases:
        known = phase.source == METADATA_NAME or phase.source.startswith("--")
        found.append(replace(phase, source="" if known else phase.source).to_json())
    return found


def write_metadata(folder: Path, metadata: CheckpointMetadata) -> Path:
    """Write ``ropediag.json`` into a checkpoint's folder."""
    path = folder / METADATA_NAME
    publish_alone(path, json.dumps(asdict(metadata), indent=2) + "\n")
    return path


def read_metadata(folder: Path) -> CheckpointMetadata | None:
    """Read a checkpoint's record; None if it has none.

    Raises
    ------
    FormatError
        If the file is not JSON, or a field is missing. Fields of later versions are left out.
    """
    path = folder / METADATA_NAME
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise FormatError(f"{path} is not readable JSON: {error}. Make the checkpoint again.") from error
    known = fields(CheckpointMetadata)
    needed = [field.name for field in known if field.default is MISSING]
    missing = [name for name in needed if not isinstance(record, dict) or name not in record]
    if missing:
        raise FormatError(f"{path} lacks {', '.join(missing)}: it is no record of a ropediag training run.")
    return CheckpointMetadata(**{field.name: record[field.name] for field in known if field.name in record})


def name_parent(name: str, folder: Path | None) -> dict[str, str | None]:
    """Name the model that another was made from, and the hash of its weights where they lie in a folder."""
    return {"name": name, "weights_hash": None if folder is None else hash_weights(folder)}


def hash_weights(folder: Path) -> str:
    """Hash a checkpoint's weights: SHA-256 of ``model.safetensors``, or of its parts one after the other."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("model*.safetensors")):
        with path.open("rb") as file:
            while piece := file.read(2**24):
                digest.update(piece)
    return digest.hexdigest()


def package_versions() -> dict[str, str]:
    """Name the versions that shape a training run."""
    versions = {"python": platform.python_version()}
    for package in ("ropediag", "torch", "transformers", "accelerate", "tokenizers", "numpy"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions

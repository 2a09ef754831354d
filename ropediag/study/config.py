"""What a study is asked to do: a YAML file, checked whole before any model loads.

The file's keys are the fields of ``StudyConfig``; its ``tune``, ``evaluate`` and ``resources`` sections
and the entries of ``grid`` are those of the classes below.
"""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import yaml

from ropediag.errors import ConfigError

Section = TypeVar("Section")


@dataclass(frozen=True)
class Grid:
    """Bases to tune with, each at every length.

    Attributes
    ----------
    bases : above 1
    lengths : tuning lengths, tokens
    """

    bases: tuple[float, ...]
    lengths: tuple[int, ...]

    def __post_init__(self) -> None:
        for base in self.bases:
            if not base > 1:
                raise ConfigError(f"a base in a study's grid must be above 1: got {base}.")
        for length in self.lengths:
            if length < 2:
                raise ConfigError(f"a tuning length in a study's grid must be at least 2: got {length}.")


@dataclass(frozen=True)
class Tuning:
    """How every cell is tuned: ``tokens`` of text a step, so that all lengths see as much."""

    steps: int = 300
    tokens: int = 2048
    lr: float = 1e-3
    text: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        if self.steps < 1 or self.tokens < 1:
            raise ConfigError(
                f"tune: steps and tokens must be at least 1: got {self.steps} and {self.tokens}."
            )


@dataclass(frozen=True)
class Evaluation:
    """How far every cell is measured, and on what.

    Attributes
    ----------
    sequences : held-out sequences, the replicates of the intervals
    least : shortest length, tokens
    reach : the length is at least this multiple of the predicted limit
    text : files or folders; none for the bundled held-out text
    """

    sequences: int = 16
    least: int = 2048
    reach: float = 3.0
    text: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        if self.sequences < 2:
            raise ConfigError(f"evaluate: sequences must be at least 2, for intervals: got {self.sequences}.")
        if self.least < 2 or not self.reach > 1:
            raise ConfigError(
                f"evaluate: least must be at least 2 and reach above 1: got {self.least} and {self.reach}."
            )


@dataclass(frozen=True)
class StudyConfig:
    """One study.

    Attributes
    ----------
    name : of the study and its results
    parents : pretrained models, as ``--model`` takes them; each is measured untuned too
    grid : what to tune
    seeds : seeds 0 .. seeds - 1 of the tuning
    resources : of one cell, as ``ray.remote`` takes them (num_cpus, num_gpus, ...)
    """

    name: str
    parents: tuple[str, ...]
    grid: tuple[Grid, ...]
    tune: Tuning = Tuning()
    evaluate: Evaluation = Evaluation()
    seeds: int = 1
    resources: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        if not self.name or not set(self.name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-."):
            raise ConfigError(f"a study's name holds lowercase letters, digits, - and .: got {self.name!r}.")
        if not self.parents or not self.grid:
            raise ConfigError(f"study {self.name}: parents and grid must not be empty.")
        if len({Path(parent).name for parent in self.parents}) < len(self.parents):
            raise ConfigError(
                f"study {self.name}: parents must have different names, which name their cells."
            )
        if self.seeds < 1:
            raise ConfigError(f"study {self.name}: seeds must be at least 1: got {self.seeds}.")


def read_study(path: Path) -> StudyConfig:
    """Read a study from its YAML file.

    Raises
    ------
    ConfigError
        If the file is missing or no YAML, a key is unknown or missing, or a value cannot be used.
    """
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the study {path}: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}.") from error
    values = _keys(StudyConfig, found, str(path))
    values["grid"] = tuple(_section(Grid, entry, f"{path}, grid") for entry in _list(values["grid"]))
    for name, section in (("tune", Tuning), ("evaluate", Evaluation)):
        if name in values:
            values[name] = _section(section, values[name], f"{path}, {name}")
    return _build(StudyConfig, values, str(path))


def _section(section: type[Section], found: Any, where: str) -> Section:
    return _build(section, _keys(section, found, where), where)


def _keys(section: type, found: Any, where: str) -> dict[str, Any]:
    """Check a mapping's keys against the fields of a class."""
    if not isinstance(found, dict):
        raise ConfigError(f"{where} must be a mapping of keys to values: got {found!r}.")
    known = {field.name: field for field in fields(section)}
    unknown = [key for key in found if key not in known]
    needed = [
        name
        for name, field in known.items()
        if field.default is MISSING and field.default_factory is MISSING and name not in found
    ]
    if unknown or needed:
        complaint = f"has no key {unknown[0]!r}" if unknown else f"lacks the key {needed[0]!r}"
        raise ConfigError(f"{where} {complaint}. Its keys are: {', '.join(known)}.")
    return dict(found)


def _build(section: type[Section], values: dict[str, Any], where: str) -> Section:
    """Bring numbers and lists to the types of the fields, and construct."""
    try:
        return section(**{name: _convert(section, name, value) for name, value in values.items()})
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}: a value has the wrong type: {error}.") from error


def _convert(section: type, name: str, value: Any) -> Any:
    kind: Any = next(field.type for field in fields(section) if field.name == name)
    if kind == tuple[float, ...]:
        return tuple(float(item) for item in _list(value))  # YAML reads 1e6 as text
    if kind == tuple[int, ...]:
        return tuple(_whole(item) for item in _list(value))
    if kind == tuple[Path, ...]:
        return tuple(Path(item) for item in _list(value))
    if kind == tuple[str, ...]:
        return tuple(str(item) for item in _list(value))
    if kind in (int, float, str):
        return _whole(value) if kind is int else kind(value)
    return value


def _whole(value: Any) -> int:
    if float(value) != int(float(value)):
        raise ValueError(f"{value} is not a whole number")
    return int(float(value))


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]

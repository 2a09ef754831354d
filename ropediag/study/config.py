"""What a study is asked to do: a YAML file, checked whole before any model loads.

The file's keys are the fields of ``StudyConfig``; its sections and the entries of its lists are those of
the classes in ``sections``. An entry of ``parents`` is a model as ``--model`` takes it; or a mapping with
``model`` and what that model does not say of its pretraining; or a mapping with ``name`` and the settings
of a model that the study pretrains itself.
"""

from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin

import yaml

from ropediag.errors import ConfigError
from ropediag.study.sections import (
    Capturing,
    Checkpoint,
    Evaluation,
    Grid,
    Parent,
    Pretraining,
    Tuning,
    parent_name,
)
from ropediag.tune.config import PretrainConfig

Section = TypeVar("Section")


@dataclass(frozen=True)
class StudyConfig:
    """One study.

    Attributes
    ----------
    name : of the study and its results
    parents : pretrained models; each is measured untuned too
    grid : what to tune; empty for a study of the parents alone
    capture : how to capture each cell as well; None for no captures
    seeds : seeds 0 .. seeds - 1 of the tuning
    resources : of one cell, as ``ray.remote`` takes them (num_cpus, num_gpus, ...)
    """

    name: str
    parents: tuple[Parent, ...]
    grid: tuple[Grid, ...] = ()
    tune: Tuning = field(default_factory=Tuning)
    evaluate: Evaluation = field(default_factory=Evaluation)
    capture: Capturing | None = None
    seeds: int = 1
    resources: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        if not self.name or not set(self.name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-."):
            raise ConfigError(f"a study's name holds lowercase letters, digits, - and .: got {self.name!r}.")
        if not self.parents:
            raise ConfigError(f"study {self.name}: parents must not be empty.")
        if len({parent_name(parent) for parent in self.parents}) < len(self.parents):
            raise ConfigError(
                f"study {self.name}: parents must have different names, which name their cells."
            )
        if self.seeds < 1:
            raise ConfigError(f"study {self.name}: seeds must be at least 1: got {self.seeds}.")
        if self.resources is not None and not isinstance(self.resources, Mapping):
            raise ConfigError(
                f"study {self.name}: resources maps names such as num_gpus to numbers: got "
                f"{self.resources!r}."
            )


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
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not text, so no study: a study is a YAML file.") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}.") from error
    values = _check_keys(_fields(StudyConfig), found, str(path))
    values["parents"] = [_read_parent(entry, f"{path}, parents") for entry in _list(values["parents"])]
    return _build(StudyConfig, values, str(path))


def _read_parent(entry: Any, where: str) -> Parent:
    if isinstance(entry, str):
        return entry
    if isinstance(entry, dict) and "model" in entry:
        return _read_section(Checkpoint, entry, where)
    passing = ("out", "force", "resume")
    known = {name: each for name, each in _fields(PretrainConfig).items() if name not in passing}
    values = _check_keys(_fields(Pretraining, "name", "heldout") | known, entry, where)
    name = str(values.pop("name"))
    heldout = tuple(Path(str(one)) for one in _list(values.pop("heldout", [])))
    run = _build(PretrainConfig, values | {"out": Path("parents") / name, "resume": True}, f"{where}, {name}")
    return Pretraining(name, run, heldout)


def _read_section(section: type[Section], found: Any, where: str) -> Section:
    return _build(section, _check_keys(_fields(section), found, where), where)


def _fields(section: type, *names: str) -> dict[str, Field]:
    return {each.name: each for each in fields(section) if not names or each.name in names}


def _check_keys(known: dict[str, Field], found: Any, where: str) -> dict[str, Any]:
    """Check a mapping's keys against the fields of a class."""
    if not isinstance(found, dict):
        raise ConfigError(f"{where} must be a mapping of keys to values: got {found!r}.")
    unknown = [key for key in found if key not in known]
    needed = [
        name
        for name, each in known.items()
        if each.default is MISSING and each.default_factory is MISSING and name not in found
    ]
    if unknown or needed:
        complaint = f"has no key {unknown[0]!r}" if unknown else f"lacks the key {needed[0]!r}"
        raise ConfigError(f"{where} {complaint}. Its keys are: {', '.join(known)}.")
    return dict(found)


def _build(section: type[Section], values: dict[str, Any], where: str) -> Section:
    """Bring values to the types of the fields, and construct."""
    known = _fields(section)
    try:
        return section(**{n: _convert(known[n].type, value, f"{where}, {n}") for n, value in values.items()})
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f"{where}: a value has the wrong type: {error}.") from error


def _convert(kind: Any, value: Any, where: str) -> Any:
    if get_origin(kind) is tuple:
        return tuple(_convert(get_args(kind)[0], item, where) for item in _list(value))
    if isinstance(kind, UnionType) and type(None) in get_args(kind):
        return None if value is None else _convert(get_args(kind)[0], value, where)
    if isinstance(kind, type) and is_dataclass(kind) and not isinstance(value, kind):
        return _read_section(kind, value, where)
    if kind is bool and not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither true nor false")
    if kind is int:
        return _whole(value)
    return kind(value) if kind in (float, str, Path) else value  # YAML reads 1e6 as text


def _whole(value: Any) -> int:
    if float(value) != int(float(value)):
        raise ValueError(f"{value} is not a whole number")
    return int(float(value))


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]

"""The settings of the calculator: read from the URL, named, predicted; an error belongs to a field.

In the URL settings are parted by ``*``, their fields by ``_``, and a field's key from its value by the first
``-``: ``settings=pretrain-10000_train-4096_base-1e6_rotary-128*...``, which no browser has to escape.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import xarray as xr

from ropediag.analysis.theory import compare_theory, follow_law
from ropediag.errors import ConfigError, RopediagError
from ropediag.prediction import Prediction, predict
from ropediag.rope_parameters import RULES

LETTERS = "ABCD"
MOST = len(LETTERS)  # settings beside each other
LARGEST = 2**40  # tokens or dimensions: far above any model, and whole as a float
WIDEST = 4096  # dimensions of a head


@dataclass(frozen=True)
class Field:
    """One field of a setting.

    Attributes
    ----------
    key : in the URL
    label : above its box
    argument : of ``predict``
    whole : whether it is a whole number
    words : how errors call it
    """

    key: str
    label: str
    argument: str
    whole: bool
    words: tuple[str, ...]

    def read(self, text: str) -> float | int | str:
        """Read the value that a box holds.

        Raises
        ------
        ConfigError
            If it is none that the field can have.
        """
        if self.key == "rule":
            if text not in RULES:
                raise ConfigError(f"one of {', '.join(RULES)}")
            return text
        try:
            number = float(text)
        except ValueError:
            raise ConfigError("not a number") from None
        if not self.whole:
            return number
        if number != number or abs(number) > (WIDEST if self.key == "rotary" else LARGEST):
            raise ConfigError("too large")
        if number != int(number):
            raise ConfigError("a whole number")
        return int(number)


FIELDS = (
    Field("pretrain", "Pretraining base", "pretrain_base", False, ("pretrain_base",)),
    Field("train", "Training length", "train_len", True, ("train_len", "training length")),
    Field("base", "Base", "base", False, ("base",)),
    Field("tune", "Tuning length", "tune_len", True, ("tune_len", "tuned or wanted length")),
    Field("rotary", "Rotary dim", "rotary_dim", True, ("rotary_dim",)),
    Field("rule", "Scaling rule", "scaling", False, ("scaling", "rope_type")),
    Field("factor", "Factor", "factor", False, ("factor",)),
    Field("target", "Target length", "target_len", True, ("target_len",)),
    Field("turns", "Turns", "turns", False, ("turns",)),
)
Setting = tuple[tuple[str, str], ...]  # (key, text) of each field that is given


@dataclass(frozen=True)
class Fault:
    """Why a setting cannot be computed, and the key of the field to mend."""

    key: str
    message: str


def read_settings(text: str) -> list[Setting]:
    """Read the field ``settings`` of the URL; what is no field is left out."""
    keys = {field.key for field in FIELDS}
    settings = []
    for one in text.split("*")[:MOST]:
        parts = (part.partition("-") for part in one.split("_"))
        given = {key: value for key, _, value in parts if key in keys and value}
        settings.append(tuple(given.items()))
    return settings


@lru_cache(maxsize=512)
def predict_setting(setting: Setting) -> Prediction | Fault:
    """Predict, or say which field keeps it from being predicted."""
    given: dict[str, str] = dict(setting)
    arguments: dict[str, Any] = {}
    for field in FIELDS:
        if field.key not in given:
            continue
        try:
            arguments[field.argument] = field.read(given[field.key])
        except ConfigError as error:
            return Fault(field.key, str(error))
    for needed, label in (("train_len", "train"), ("rotary_dim", "rotary")):
        if needed not in arguments:
            return Fault(label, "needed")
    arguments.setdefault("base", arguments.get("pretrain_base"))
    if arguments["base"] is None:
        return Fault("base", "a base is needed, here or of pretraining")
    if ("scaling" in arguments) != ("factor" in arguments):
        return Fault("factor", "a rule and its factor go together")
    try:
        return predict(retrieval=False, **arguments)
    except RopediagError as error:
        return Fault(_find_field(str(error)), str(error).partition(". ")[0])


def _find_field(message: str) -> str:
    """Tell the field that an error names first."""
    found = [
        (match.start(), field.key)
        for field in FIELDS
        for word in field.words
        if (match := re.search(rf"(?<![\w-])(--)?{re.escape(word)}(?![\w])", message))
    ]
    return min(found)[1] if found else "base"


def name_settings(settings: list[Setting]) -> list[str]:
    """Name each by its letter and by what sets it apart from the others."""
    given = [dict(setting) for setting in settings]
    names = []
    for index, one in enumerate(given):
        apart = [
            f"{field.label.lower()} {_group_digits(one[field.key])}"
            for field in FIELDS
            if field.key in one and any(other.get(field.key) != one[field.key] for other in given)
        ]
        names.append(f"{LETTERS[index]}: {', '.join(apart)}" if apart else LETTERS[index])
    return names


def _group_digits(text: str) -> str:
    return f"{int(text):,}" if text.isdecimal() else text


def list_predictions(text: str) -> dict[str, Prediction]:
    """Give the settings that can be computed, by name.

    Raises
    ------
    ConfigError
        If none can.
    """
    found = find_predictions(text)
    if not found:
        raise ConfigError("no setting can be computed: mend the fields marked above.")
    return found


def find_predictions(text: str) -> dict[str, Prediction]:
    """Give the settings that can be computed, by name; none, if none can."""
    settings = read_settings(text)
    answers = zip(name_settings(settings), map(predict_setting, settings), strict=True)
    return {name: answer for name, answer in answers if isinstance(answer, Prediction)}


@lru_cache(maxsize=64)
def compare_settings(text: str) -> xr.Dataset:
    """Compare the settings of the URL pair by pair; ConfigError if none can be computed."""
    return compare_theory(list_predictions(text))


@lru_cache(maxsize=64)
def follow_settings(text: str) -> xr.Dataset:
    """Follow the law of the settings of the URL along the base; ConfigError if none can be computed."""
    return follow_law(list_predictions(text))

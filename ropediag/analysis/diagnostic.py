"""What makes a function a diagnostic: it says what it asks and what its numbers mean.

A diagnostic is one function in a file of its own in this folder, marked with ``@diagnostic``. It takes a
``Capture``, or, where no capture is needed, a ``RopeSpec`` and a length, and gives a labelled Dataset.
``list_diagnostics`` finds them by scanning the folder, so a new one is a new file and nothing else.
"""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from ropediag.errors import ConfigError
from ropediag.rope import RopeSpec
from ropediag.store import Capture
from ropediag.theory.training import Training

if TYPE_CHECKING:
    import xarray as xr

KEPT_ATTRIBUTES = ("model", "base", "pretrain_base", "train_len", "tune_len", "length")


@dataclass(frozen=True)
class Diagnostic:
    """One question to a model, and the function that answers it; call it with a capture.

    Attributes
    ----------
    name : the file it lies in
    question : what it answers
    high : what a high value means
    interval : where its uncertainty comes from, or why it has none
    source : what it is taken from
    shows : the variable that a figure draws, its last axis across
    measure : the function itself
    geometry : whether a ``RopeSpec`` and a length are all it needs
    training : whether a ``Training`` and a length are all it needs
    between_sequences : whether its errors are always those between sequences, even between two; otherwise
        they rest on blocks of a sequence, or sampled queries, where there are fewer than 8 sequences
    """

    name: str
    question: str
    high: str
    interval: str
    source: str
    shows: str
    measure: Callable[..., "xr.Dataset"]
    geometry: bool
    training: bool
    between_sequences: bool

    def __call__(
        self, subject: Capture | RopeSpec | Training, length: int | None = None, **options: Any
    ) -> "xr.Dataset":
        """Measure.

        Parameters
        ----------
        subject : a capture; for a diagnostic of the geometry alone also a ``RopeSpec``, or a ``Training``
        length : tokens, without a capture only; a capture has its own

        Returns
        -------
        xr.Dataset
            Every variable has ``units`` and ``long_name``; the attributes are those of this class, and of
            the model where a capture was given.

        Raises
        ------
        ConfigError
            If something else is given, or no length without a capture.
        """
        if not (self.geometry or self.training):
            if not isinstance(subject, Capture):
                raise ConfigError(f"{self.name} needs a capture: got a {type(subject).__name__}.")
            found = self.measure(subject, **options)
        else:
            found = self.measure(*self._geometry(subject, length), **options)
            if (
                isinstance(subject, Capture) and "layer" in found.dims
            ):  # a capture may hold chosen layers only
                found["layer"] = found.layer.copy(data=subject.values("layer"))
        labels = {name: getattr(self, name) for name in ("question", "high", "interval", "source", "shows")}
        return found.assign_attrs(
            _describe(subject, length) | found.attrs | labels | {"diagnostic": self.name}
        )

    def _geometry(
        self, subject: Capture | RopeSpec | Training, length: int | None
    ) -> tuple[RopeSpec | Training, int]:
        if isinstance(subject, Capture):
            return subject.training if self.training else subject.spec(), int(subject.attrs["length"])
        wanted = Training if self.training else RopeSpec
        if not isinstance(subject, wanted):
            raise ConfigError(
                f"{self.name} needs a capture or a {wanted.__name__}: got a {type(subject).__name__}."
            )
        if length is None:
            raise ConfigError(f"{self.name} needs a length, in tokens, with a {wanted.__name__}.")
        return subject, length


def diagnostic(
    *,
    question: str,
    high: str,
    interval: str,
    source: str,
    shows: str,
    geometry: bool = False,
    training: bool = False,
    between_sequences: bool = False,
) -> Callable[[Callable[..., "xr.Dataset"]], Diagnostic]:
    """Mark a function as a diagnostic; arguments as in ``Diagnostic``."""

    def mark(measure: Callable[..., "xr.Dataset"]) -> Diagnostic:
        name = measure.__module__.rpartition(".")[2]
        return Diagnostic(
            name, question, high, interval, source, shows, measure, geometry, training, between_sequences
        )

    return mark


def list_diagnostics() -> dict[str, Diagnostic]:
    """Find every diagnostic in this folder, by name.

    Raises
    ------
    ConfigError
        If a file holds two of them.
    """
    package = importlib.import_module(__package__ or "ropediag.analysis")
    return dict(_find_in(package.__name__, tuple(package.__path__)))


@cache
def _find_in(package: str, folders: tuple[str, ...]) -> dict[str, Diagnostic]:
    found: dict[str, Diagnostic] = {}
    for entry in pkgutil.iter_modules(folders):
        module = importlib.import_module(f"{package}.{entry.name}")
        own = [value for value in vars(module).values() if isinstance(value, Diagnostic)]
        for each in (value for value in own if value.name == entry.name):
            if entry.name in found:
                raise ConfigError(f"{module.__name__} holds two diagnostics: put each in a file of its own.")
            found[entry.name] = each
    return found


def _describe(subject: Capture | RopeSpec | Training, length: int | None) -> dict[str, Any]:
    if isinstance(subject, Capture):
        return {name: subject.attrs[name] for name in KEPT_ATTRIBUTES if name in subject.attrs}
    base = subject.base if isinstance(subject, RopeSpec) else None
    return {name: value for name, value in {"base": base, "length": length}.items() if value is not None}

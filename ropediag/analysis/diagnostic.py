"""What makes a function a diagnostic: it says what it asks and what its numbers mean.

A diagnostic is one function in a file of its own in this folder, marked with ``@diagnostic``. It takes a
``Capture``, or, where no capture is needed, a ``RopeSpec`` and a length, and returns a labelled Dataset.
``list_diagnostics`` finds them by scanning the folder, so a new one is a new file and nothing else. One that
is marked elsewhere, in a notebook or a module, is found from then on; one in another package is found by the
entry point that the package declares in the group ``ropediag.diagnostics``.
"""

import importlib
import pkgutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, wraps
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from ropediag.errors import ConfigError, RopediagError
from ropediag.rope import RopeSpec
from ropediag.store import Capture
from ropediag.theory.training import Training

if TYPE_CHECKING:
    import xarray as xr

KEPT_ATTRIBUTES = ("model", "base", "pretrain_base", "train_len", "tune_len", "length")
GROUP = "ropediag.diagnostics"  # of entry points

_marked: dict[str, "Diagnostic"] = {}  # outside this package, by name


@dataclass(frozen=True)
class Diagnostic:
    """One question to a model, and the function that answers it; call it with a capture.

    Attributes
    ----------
    name : the file it lies in; of one from outside that of its function, without ``measure_``
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
            If something else is given, or no length without a capture; if one from outside this package fails
            or returns no Dataset.
        """
        if not (self.geometry or self.training):
            if not isinstance(subject, Capture):
                raise ConfigError(f"{self.name} needs a capture: got a {type(subject).__name__}.")
            found = self._measure(subject, **options)
        else:
            found = self._measure(*self._geometry(subject, length), **options)
            if (
                isinstance(subject, Capture) and "layer" in found.dims
            ):  # a capture may hold chosen layers only
                found["layer"] = found.layer.copy(data=subject.values("layer"))
        labels = {name: getattr(self, name) for name in ("question", "high", "interval", "source", "shows")}
        return found.assign_attrs(
            _describe(subject, length) | found.attrs | labels | {"diagnostic": self.name}
        )

    def _measure(self, *subject: Any, **options: Any) -> "xr.Dataset":
        """Call the function; what one from outside this package does wrong is told with its module."""
        if _is_ours(self.measure):
            return self.measure(*subject, **options)
        import xarray as xr

        where = f"the diagnostic {self.name} of {self.measure.__module__}"
        try:
            found = self.measure(*subject, **options)
        except RopediagError:
            raise
        except Exception as error:  # whatever somebody else's code raises
            raise ConfigError(f"{where} failed: {type(error).__name__}: {error}") from error
        if not isinstance(found, xr.Dataset):
            raise ConfigError(f"{where} returned a {type(found).__name__}: it must return an xarray Dataset.")
        return found

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
) -> Callable[[Callable[..., "xr.Dataset"]], Callable[..., "xr.Dataset"]]:
    """Mark a function as a diagnostic; arguments as in ``Diagnostic``.

    Returns
    -------
    Callable
        The function itself as callers see it, with its signature and docstring; its result is labelled. Its
        attribute ``diagnostic`` is the ``Diagnostic``.
    """

    def mark(measure: Callable[..., "xr.Dataset"]) -> Callable[..., "xr.Dataset"]:
        ours = _is_ours(measure)
        name = measure.__module__.rpartition(".")[2] if ours else measure.__name__.removeprefix("measure_")
        found = Diagnostic(
            name, question, high, interval, source, shows, measure, geometry, training, between_sequences
        )

        @wraps(measure)
        def measured(*subject: Any, **options: Any) -> "xr.Dataset":
            return found(*subject, **options)

        vars(measured)["diagnostic"] = found
        if not ours:
            _remember(found)
        return measured

    return mark


def _remember(found: Diagnostic) -> None:
    """Keep a diagnostic from outside this package; a module may define its own one again."""
    other = _marked.setdefault(found.name, found)
    if other.measure.__module__ == found.measure.__module__:
        _marked[found.name] = found
    else:
        _warn_taken(found, other.measure.__module__)


def _warn_taken(found: Diagnostic, owner: str) -> None:
    warnings.warn(
        f"the diagnostic {found.name} of {found.measure.__module__} is left out: {owner} has one of that "
        "name. Rename its function.",
        stacklevel=3,
    )


def list_diagnostics() -> dict[str, Diagnostic]:
    """Find every diagnostic by name: in this folder, marked elsewhere, and in other packages.

    One from outside that cannot be loaded, or takes the name of another one, is left out with a warning.

    Raises
    ------
    ConfigError
        If a file of this folder holds two of them.
    """
    package = importlib.import_module(__package__ or "ropediag.analysis")
    found = dict(_find_in(package.__name__, tuple(package.__path__)))
    _load_others()
    for name, each in _marked.items():
        if name in found:
            _warn_taken(each, "ropediag")
        else:
            found[name] = each
    return found


@cache
def _load_others() -> None:
    """Import what other packages name in their entry points, which marks it; once."""
    for point in entry_points(group=GROUP):
        try:
            point.load()
        except Exception as error:  # whatever somebody else's module raises
            warnings.warn(
                f"the diagnostic {point.name} = {point.value} is left out, since it cannot be loaded: "
                f"{type(error).__name__}: {error}",
                stacklevel=3,
            )


def _is_ours(measure: Callable[..., Any]) -> bool:
    return measure.__module__.startswith("ropediag.")


@cache
def _find_in(package: str, folders: tuple[str, ...]) -> dict[str, Diagnostic]:
    found: dict[str, Diagnostic] = {}
    for entry in pkgutil.iter_modules(folders):
        module = importlib.import_module(f"{package}.{entry.name}")
        marks = (getattr(value, "diagnostic", None) for value in vars(module).values())
        own = [mark for mark in marks if isinstance(mark, Diagnostic)]
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

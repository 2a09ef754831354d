"""Phases of training as they are stated, and the ``Training`` they make of a model's layers.

A phase is stated by a length and, where they are not the model's, a base, a scaling rule and a window:
``len=8192,base=100000`` on the command line, an object in ``ropediag.json`` and in capture files. Lengths
and windows are tokens.
"""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from ropediag.errors import ConfigError
from ropediag.rope_config import LayerRope, widest_layers
from ropediag.rope_parameters import change_rope, read_rule
from ropediag.scaling import layer_inv_freq
from ropediag.theory.training import ALL_LAGS, Phase, Training, same_rotation

OWN = "own"  # as a rule: the scaling rule of the model itself
ALL = "all"  # as a window: all lags
ASSUMED = "max_position_embeddings, an assumption"  # as a source
KEYS = ("length", "base", "rule", "window", "label", "source")
Rule = Mapping[str, Any] | str | None


@dataclass(frozen=True)
class PhaseSpec:
    """One phase of training as it is stated.

    Attributes
    ----------
    length : tokens of a sequence, at least 2
    base : ``rope_theta``; None for the model's
    rule : a scaling rule as in a config.json, ``OWN`` for the model's, None for none
    window : lags 0 to window - 1 are visible; ``ALL`` for all, None for the model's windows
    label : what to call it, such as pretraining
    source : who states it

    Raises
    ------
    ConfigError
        If a value is of another kind or out of range, naming it.
    """

    length: int
    base: float | None = None
    rule: Rule = None
    window: int | str | None = None
    label: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "length", _whole("len", self.length))
        if self.base is not None:
            object.__setattr__(self, "base", _base(self.base))
        if self.window is not None and self.window != ALL:
            object.__setattr__(self, "window", _whole("window", self.window))
        if self.rule is not None and self.rule != OWN:
            if not isinstance(self.rule, Mapping):
                raise ConfigError(
                    'rule of a training phase must be an object such as {"rope_type": "yarn", "factor": 4}, '
                    f"or {OWN} for the model's: got {self.rule!r}."
                )
            object.__setattr__(self, "rule", read_rule(self.rule, None))

    def to_json(self) -> dict[str, Any]:
        """Return the phase as an object of JSON; what it leaves to the model is left out."""
        return {key: getattr(self, key) for key in KEYS if getattr(self, key) not in (None, "")}

    def __str__(self) -> str:
        """Return the phase as it is typed, ``len=8192,base=100000.0``; the source is left out."""
        parts = {"len" if key == "length" else key: value for key, value in self.to_json().items()}
        rule = parts.get("rule")
        if rule is not None and rule != OWN:
            parts["rule"] = json.dumps(dict(rule), separators=(",", ":"))
        return ",".join(f"{key}={value}" for key, value in parts.items() if key != "source")

    def describe(self) -> str:
        """Write the phase in words: ``8,192 tokens at base 100,000, window 4,096``."""
        words = f"{self.length:,} tokens"
        if self.base is not None:
            words += f" at base {self.base:,.10g}"
        if self.rule is not None:
            name = self.rule if isinstance(self.rule, str) else self.rule["rope_type"]
            words += " under the model's rule" if name == OWN else f" under {name}"
        if self.window is not None:
            words += f", window {self.window:,}" if isinstance(self.window, int) else ", no window"
        return words


@dataclass(frozen=True)
class TrainingHistory:
    """All phases of a model's training as they are stated.

    Attributes
    ----------
    phases : at least one, oldest first
    base : ``rope_theta`` of the model as it runs, in the layers that see furthest
    sources : who states base, pretrain_base, train_len and tune_len
    notes : what the user should know of how they were found

    Raises
    ------
    ConfigError
        If there is no phase.
    """

    phases: tuple[PhaseSpec, ...]
    base: float
    sources: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.phases:
            raise ConfigError("the list of training phases is empty. Give at least one, such as len=4096.")

    @property
    def train_len(self) -> int:
        """Tokens of a sequence in pretraining, the first phase."""
        return self.phases[0].length

    @property
    def tune_len(self) -> int:
        """Tokens of a sequence in the last phase."""
        return self.phases[-1].length

    @property
    def pretrain_base(self) -> float:
        """Return ``rope_theta`` of the first phase."""
        return self.base if self.phases[0].base is None else self.phases[0].base

    @property
    def trained(self) -> int:
        """Tokens of the longest sequences of any phase."""
        return max(phase.length for phase in self.phases)

    def numbers(self) -> dict[str, float | int]:
        """Return base, pretrain_base, train_len and tune_len, which sum the phases up."""
        names = ("base", "pretrain_base", "train_len", "tune_len")
        return {name: getattr(self, name) for name in names}

    def describe(self) -> list[str]:
        """Write the phases in words, a line each, with who states them; then the notes."""
        lines = [
            f"trained: {phase.describe()}"
            + (f", {phase.label}" if phase.label else "")
            + f" (from {phase.source})"
            for phase in self.phases
        ]
        return lines + [f"note: {note}" for note in self.notes]

    def to_json(self) -> list[dict[str, Any]]:
        """Return the phases as objects of JSON."""
        return [phase.to_json() for phase in self.phases]

    def build(
        self,
        layers: Sequence[LayerRope],
        running: Float[np.ndarray, "layer pair"] | Sequence[LayerRope] | None = None,
        length: int | None = None,
    ) -> Training:
        """Compute what the phases showed the pairs of some layers.

        Parameters
        ----------
        layers : of the model's config, which the phases refer to; those that see furthest are among them
        running : the rotation in use, measured or by layers of another config; that of ``layers`` if None
        length : tokens, where rules that follow the running length are taken

        Raises
        ------
        ConfigError
            If a phase cannot be computed, or has another number of pairs than the model.
        """
        measured = isinstance(running, np.ndarray)
        used = layers if measured or running is None else running
        rows = running if measured else _stack([layer_inv_freq(layer, length)[0] for layer in used])
        now = np.asarray(rows, dtype=np.float64)
        window = np.array([layer.window or ALL_LAGS for layer in used])
        reference = widest_layers(layers)[0].base
        phases = tuple(self._realise(phase, layers, reference, now, window) for phase in self.phases)
        return Training(phases, now, np.array([layer.base for layer in used]), window)

    def _realise(
        self,
        spec: PhaseSpec,
        layers: Sequence[LayerRope],
        reference: float,
        now: Float[np.ndarray, "layer pair"],
        window: np.ndarray,
    ) -> Phase:
        changed = [self._change_layer(spec, layer, reference) for layer in layers]
        rotation = np.full(now.shape, np.nan)
        for row, layer in enumerate(changed):
            own, real = self._compute_row(spec, layer, now[row]), int(np.sum(~np.isnan(now[row])))
            if len(own) != real:
                raise ConfigError(
                    f"layer {row}: the config states {len(own)} rotary pairs, and the model turns {real}. "
                    "Which of them made a full turn in training cannot be told."
                )
            rotation[row, :real] = now[row, :real] if same_rotation(own, now[row, :real]) else own
        if spec.window is not None:
            window = np.full(len(layers), ALL_LAGS if spec.window == ALL else spec.window)
        base = np.array([layer.base for layer in changed])
        return Phase(rotation, base, spec.length, window, spec.label, spec.source)

    def _compute_row(self, spec: PhaseSpec, layer: LayerRope, now: np.ndarray) -> Float[np.ndarray, " pair"]:
        """Compute the frequencies of a layer in a phase; a rule of the model's own code is the one in use."""
        try:
            return layer_inv_freq(layer, spec.length)[0]
        except ConfigError:
            if spec.rule != OWN:
                raise
            return now[~np.isnan(now)]

    def _change_layer(self, spec: PhaseSpec, layer: LayerRope, reference: float) -> LayerRope:
        """Apply base and rule of a phase to a layer; one whose base is not ``reference`` keeps its base."""
        if not layer.rotary_dim:
            return layer
        base = spec.base if spec.base is not None and layer.base == reference else layer.base
        if spec.rule is None:
            return _unscale(replace(layer, base=base))
        if not isinstance(spec.rule, Mapping):  # OWN
            return replace(layer, base=base)
        stated = {"rope_theta": base}
        if layer.parameters.get("partial_rotary_factor") is not None:
            stated["partial_rotary_factor"] = layer.parameters["partial_rotary_factor"]
        parameters = change_rope(stated, layer.rotary_dim, self.train_len, base, spec.rule)
        return replace(
            layer,
            base=float(parameters["rope_theta"]),
            rule=parameters.get("rope_type", "default"),
            parameters=parameters,
            original_len=parameters.get("original_max_position_embeddings") or layer.original_len,
        )


def _unscale(layer: LayerRope) -> LayerRope:
    """Take the scaling rule off a layer; rotating a part of the head in proportion is no scaling."""
    if layer.rule == "proportional":
        return replace(layer, parameters={**layer.parameters, "factor": None})
    return replace(layer, rule="default", parameters={})


def _stack(rows: Sequence[Float[np.ndarray, " _"]]) -> Float[np.ndarray, "layer pair"]:
    """Pad rows of frequencies with NaN to one length."""
    found = np.full((len(rows), max(len(row) for row in rows)), np.nan)
    for row, values in zip(found, rows, strict=True):
        row[: len(values)] = values
    return found


def read_phases(entries: Any, source: str) -> tuple[PhaseSpec, ...]:
    """Read phases from JSON: a list of objects, oldest first.

    Raises
    ------
    ConfigError
        Naming the source: if it is no list of objects, a key is unknown, or a value cannot be used.
    """
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        raise ConfigError(f"phases in {source} must be a list of objects: got {entries!r:.80}.")
    if not entries:
        raise ConfigError(f"the list of training phases in {source} is empty. Give at least one.")
    found = []
    for entry in entries:
        unknown = [key for key in entry if key not in KEYS]
        if unknown or "length" not in entry:
            fault = f"has the unknown key {unknown[0]}" if unknown else "states no length"
            raise ConfigError(f"a training phase in {source} {fault}: got {dict(entry)!r:.120}.")
        try:  # numbers first, as the annotations of a phase promise them
            known: dict[str, Any] = {"length": _whole("len", entry["length"])}
            if entry.get("base") is not None:
                known["base"] = _base(entry["base"])
            found.append(PhaseSpec(**{"source": source, **entry, **known}))
        except ConfigError as error:
            raise ConfigError(f"{source}: {error}") from error
    return tuple(found)


def _whole(name: str, value: Any) -> int:
    if not _is_number(value) or value != int(value) or value < 2:
        raise ConfigError(
            f"{name} of a training phase must be a whole number of tokens, at least 2: got {value!r}."
        )
    return int(value)


def _base(value: Any) -> float:
    if not _is_number(value) or not value > 1:
        raise ConfigError(f"base of a training phase must be a finite number above 1: got {value!r}.")
    return float(value)


def _is_number(value: Any) -> bool:
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return known and not math.isnan(value) and abs(value) <= sys.float_info.max

"""Training in capture files: the arrays of group ``training``, and what older files say instead."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from ropediag.errors import ConfigError
from ropediag.rope import inv_freq
from ropediag.rope_config import LayerRope
from ropediag.theory.phases import PhaseSpec, TrainingHistory
from ropediag.theory.training import ALL_LAGS, Phase, Training, find_base

MEASURED = "as measured"  # the rule of a layer whose scaling the file does not name
Values = Callable[[str], np.ndarray]


def describe_training(training: Training) -> dict[str, np.ndarray]:
    """List the phases as arrays, by their name in the file."""
    phases = training.phases
    return {
        "training/sequence_len": np.array([phase.length for phase in phases]),
        "training/label": np.array([phase.label for phase in phases], dtype=object),
        "training/source": np.array([phase.source for phase in phases], dtype=object),
        "training/base": np.stack([phase.base for phase in phases]),
        "training/window": np.stack([phase.window for phase in phases]),
        "training/inv_freq": np.stack([phase.inv_freq for phase in phases]),
    }


def describe_history(history: TrainingHistory) -> dict[str, str | int | float]:
    """List what sums the phases up as root attributes of a file."""
    return {**history.numbers(), "phases": json.dumps(history.to_json())}


def restate_training(
    attrs: Mapping[str, Any], held: Callable[[str], bool], values: Values, phases: Sequence[PhaseSpec]
) -> tuple[TrainingHistory, Training]:
    """Build another training for the layers of a capture, from phases as they are stated.

    Parameters
    ----------
    attrs, held, values : of the file, as for ``recover_training``
    phases : at least one, oldest first; a rule of ``phases.OWN`` is the rotation that was measured

    Raises
    ------
    ConfigError
        If there is no phase, or one cannot be computed.
    """
    now, base, window = _read_rotation(attrs, held, values)
    own = _number(attrs, "base")
    history = TrainingHistory(tuple(phases), own)
    layers = [
        _describe_layer(row, float(value), int(reach))
        for row, value, reach in zip(now, base, window, strict=True)
    ]
    return history, history.build(layers, now)


def _describe_layer(row: Float[np.ndarray, " pair"], base: float, window: int) -> LayerRope:
    """Describe a measured layer as its config would: plain RoPE, or the rule of pairs that never turn."""
    real = row[~np.isnan(row)]
    turning = 2 * int(np.sum(real > 0))
    rule, size = ("proportional", turning) if (real == 0).any() else ("default", 2 * len(real))
    if len(real) and rule == "default" and find_base(real, base) is None:
        rule = MEASURED
    parameters = {"rope_theta": base}
    return LayerRope(
        2 * len(real), size, 0, base, rule, parameters, None, None, None if window == ALL_LAGS else window
    )


def recover_training(attrs: Mapping[str, Any], held: Callable[[str], bool], values: Values) -> Training:
    """Build the training of a capture's layers from its file.

    Files before version 7 hold no phases. There pretraining is plain RoPE at ``pretrain_base`` and
    ``train_len``, in layers that have the base of the model; other layers turned as they turn now. Tuning at
    ``tune_len`` is a second phase, with the rotation of the file, where its length or base differ.

    Parameters
    ----------
    attrs : of the file
    held, values : whether the file holds a variable, and its array

    Raises
    ------
    ConfigError
        If the file states no training length, or its phases cannot be.
    """
    now, base, window = _read_rotation(attrs, held, values)
    if not held("training/inv_freq"):
        return Training(_recover_phases(attrs, now, base, window), now, base, window)
    names = ("sequence_len", "label", "source", "base", "window")
    arrays = {name: values(f"training/{name}") for name in names}
    rotations = values("training/inv_freq").astype(float)
    phases = tuple(
        Phase(
            rotation,
            arrays["base"][at].astype(float),
            int(arrays["sequence_len"][at]),
            arrays["window"][at].astype(int),
            str(arrays["label"][at]),
            str(arrays["source"][at]),
        )
        for at, rotation in enumerate(rotations)
    )
    return Training(phases, now, base, window)


def _read_rotation(
    attrs: Mapping[str, Any], held: Callable[[str], bool], values: Values
) -> tuple[Float[np.ndarray, "layer pair"], Float[np.ndarray, " layer"], Int[np.ndarray, " layer"]]:
    """Read frequencies, base and window of each layer as they were captured."""
    now = values("rope/inv_freq").astype(float)
    window = values("rope/window").astype(int) if held("rope/window") else np.full(len(now), ALL_LAGS)
    base = values("rope/base").astype(float) if held("rope/base") else _find_bases(now, attrs)
    return now, base, window


def _find_bases(
    now: Float[np.ndarray, "layer pair"], attrs: Mapping[str, Any]
) -> Float[np.ndarray, " layer"]:
    """Find the base of each layer that turns as plain RoPE does; the model's elsewhere."""
    stated = _number(attrs, "base")
    found = [find_base(row, stated) if np.isfinite(row).any() else math.nan for row in now]
    return np.array([stated if value is None else value for value in found])


def _recover_phases(
    attrs: Mapping[str, Any],
    now: Float[np.ndarray, "layer pair"],
    base: Float[np.ndarray, " layer"],
    window: Int[np.ndarray, " layer"],
) -> tuple[Phase, ...]:
    train_len, tune_len = (int(attrs.get(name) or 0) for name in ("train_len", "tune_len"))
    if train_len < 2:
        raise ConfigError(
            "the capture does not state the length of pretraining. State the training with ropediag "
            "set-training FILE --phase len=TOKENS."
        )
    own, pretrain_base = _number(attrs, "base"), _number(attrs, "pretrain_base")
    before, rotation = base.copy(), now.copy()
    if pretrain_base > 1:
        for layer in np.flatnonzero(np.isclose(base, own, rtol=1e-6)):
            real = ~np.isnan(now[layer])
            if not real.any():  # without RoPE
                continue
            plain = inv_freq(2 * int(real.sum()), pretrain_base)
            rotation[layer, real] = np.where(now[layer, real] == 0, 0.0, plain)  # pairs that never turn
            before[layer] = pretrain_base
    phases = [Phase(rotation, before, train_len, window, "pretraining", "an older file")]
    if tune_len >= 2 and (tune_len != train_len or own != pretrain_base):
        phases.append(Phase(now, base, tune_len, window, "tuning", "an older file"))
    return tuple(phases)


def _number(attrs: Mapping[str, Any], name: str) -> float:
    return float(attrs.get(name, math.nan) or math.nan)

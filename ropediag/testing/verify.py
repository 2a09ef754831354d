"""Does ropediag measure a model right? A capture of it against all query-key pairs written out.

Everything is computed the slow, obvious way from what the model handed to its attention function, and in
eager mode also held against the probabilities that its own softmax gave. ``verify_model`` is for tiny
models: it writes out length x length.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ropediag.capture import capture_model
from ropediag.config_class import list_entries
from ropediag.errors import ConfigError
from ropediag.models.rotation import Rotation, measure_rotation
from ropediag.models.tap import AttentionCall, tap_attention
from ropediag.rope_config import read_layers
from ropediag.scaling import spec_from_config
from ropediag.store import Capture, open_capture

SHIFT = 1000  # positions that a text is moved by
TOLERANCES = {"weights": 1e-4, "scores": 1e-5, "shift": 1e-3, "angle": 1e-3}
WRONG = 0.05  # contributions of channels that do not belong together move by more than this share
TRAIN_LEN = 16

Calls = dict[int, tuple[AttentionCall, Any]]


@dataclass(frozen=True, eq=False)
class Verified:
    """What a model does, and how far ropediag's account of it is off.

    Attributes
    ----------
    rotation : the measured rotation
    windows : layer -> lags that it sees, None for all
    softcapped, sinks : whether any layer has them
    errors : by name, the largest deviation in any layer. ``weights``: softmax of contributions and rest
        against the model's own, probability; NaN where the model does not tell. ``scores``: means by lag in
        the file, relative to the largest contribution. ``shift``: how far contributions move when the text
        moves, relative. ``angle``: applied angle against position times frequency, radians
    wrong_shift : the same as ``shift`` for channels paired wrongly; NaN with a single pair
    config_agrees : whether frequencies, channels, factors and windows read from the config are the measured
        ones
    """

    rotation: Rotation
    windows: dict[int, int | None]
    softcapped: bool
    sinks: bool
    errors: dict[str, float]
    wrong_shift: float
    config_agrees: bool

    @property
    def failures(self) -> list[str]:
        """Names of what is off by more than the rounding of float32."""
        found = [name for name, limit in TOLERANCES.items() if self.errors[name] > limit]
        return found + (["wrong_shift"] if self.wrong_shift < WRONG else [])


def verify_model(model: Any, input_ids: Int[Tensor, "sequence position"]) -> Verified:
    """Capture a tiny model and hold the file, and the rotation, against the model itself.

    Parameters
    ----------
    model : a transformers decoder in float32; in eager mode if its own softmax is to be compared
    input_ids : one sequence

    Raises
    ------
    ModelError, CaptureError
        If the model is refused.
    """
    with _captured(model, input_ids) as capture:
        rotation = measure_rotation(model, np.array([0, 1, 10, 100, SHIFT]))
        moved = _tap(model, input_ids, 2 * SHIFT)  # first: dynamic frequencies keep what they grow to
        calls = _tap(model, input_ids, SHIFT)
        seen = _tap(model, input_ids, 0)
        layers = [_Layer(*seen[int(layer)], rotation, row) for row, layer in enumerate(rotation.layers)]
        errors = {
            "weights": _largest(layer.miss_weights() for layer in layers),
            "scores": _largest(layer.miss_scores(capture) for layer in layers),
            "angle": _miss_angles(rotation),
        }
    first = next(row for row in range(len(layers)) if rotation.spec.pair_count(row))
    channels = rotation.spec.channels[first, : rotation.spec.pair_count(first)]
    both = calls[int(rotation.layers[first])][0], moved[int(rotation.layers[first])][0]
    wrong = np.stack([channels[:, 0], np.roll(channels[:, 1], 1)], axis=1)
    return Verified(
        rotation=rotation,
        windows={layer: call.window for layer, (call, _) in seen.items()},
        softcapped=any(call.softcap is not None for call, _ in seen.values()),
        sinks=any(call.sinks is not None for call, _ in seen.values()),
        errors=errors | {"shift": _move(*both, channels)},
        wrong_shift=_move(*both, wrong) if len(channels) > 1 else np.nan,
        config_agrees=_config_agrees(model, rotation) and _windows_agree(model, seen),
    )


@contextmanager
def _captured(model: Any, input_ids: Tensor) -> Iterator[Capture]:
    options: dict[str, Any] = {"rows": 4, "train_len": TRAIN_LEN, "excess": False}
    with tempfile.TemporaryDirectory() as folder:
        path = capture_model(model, input_ids, Path(folder) / "capture.h5", **options)
        with open_capture(path) as capture:
            yield capture


def _tap(model: Any, input_ids: Tensor, first: int) -> Calls:
    """Each layer's call and the result it got, with the text beginning at a position."""
    calls: Calls = {}

    def keep(call: AttentionCall) -> Any:
        result = call.attend()
        calls[call.layer] = call, result
        return result

    positions = torch.arange(first, first + input_ids.shape[1])[None]
    with torch.no_grad(), tap_attention(model, keep):
        model(input_ids=input_ids, position_ids=positions, use_cache=False)
    return calls


class _Layer:
    """One layer, written out: contributions of every pair, and the rest, for all queries and keys."""

    def __init__(self, call: AttentionCall, result: Any, rotation: Rotation, row: int) -> None:
        self.call, self.row, self.index = call, row, int(rotation.layers[row])
        channels = rotation.spec.channels[row, : rotation.spec.pair_count(row)]
        self.contributions = _contributions(call, channels)
        rest = [[channel] for channel in rotation.spec.rest_channels(row)]
        self.rest = _contributions(call, np.array(rest, dtype=np.int64).reshape(-1, 1)).sum(1)
        length = call.query.shape[2]
        self.lag = np.arange(length)[:, None] - np.arange(length)
        self.visible = (self.lag >= 0) & (self.lag < (call.window or length))
        weights = result[1] if isinstance(result, tuple) and len(result) > 1 else None
        self.weights = None if weights is None else weights[0].double().numpy()

    def miss_weights(self) -> float:
        """Largest deviation of the softmax over contributions and rest from the model's own weights.

        Both sum to 1 over the keys here: some models leave their sinks out of the weights they return. What
        sinks do to the output, the capture has checked.
        """
        if self.weights is None or self.weights.shape[-1] < self.lag.shape[1]:
            return np.nan
        logits = self.contributions.sum(1) + self.rest
        if self.call.softcap is not None:
            logits = self.call.softcap * np.tanh(logits / self.call.softcap)
        logits = np.where(self.visible, logits, -np.inf)
        weights = np.exp(logits - logits.max(-1, keepdims=True))
        own = self.weights[..., : self.lag.shape[1]]
        mine = weights / weights.sum(-1, keepdims=True)
        return float(np.abs(mine - own / own.sum(-1, keepdims=True)).max())

    def miss_scores(self, capture: Capture) -> float:
        """Largest deviation of the file's means by lag from those written out, of pairs and of the rest."""
        edges = [*capture["scores/mean"].lag.values, len(self.lag)]
        largest = max(np.abs(self.contributions).max(initial=0), np.abs(self.rest).max(initial=0), 1e-30)
        found = capture["scores/mean"].sel(layer=self.index).values
        rest = capture["scores/rest_mean"].sel(layer=self.index).values
        missed = 0.0
        for bin_, (start, stop) in enumerate(pairwise(edges)):
            inside = self.visible & (self.lag >= start) & (self.lag < stop)
            if inside.any():
                heads, pairs = self.contributions.shape[:2]
                means = self.contributions[..., inside].mean(-1)
                missed = max(missed, np.abs(found[:heads, :pairs, bin_] - means).max(initial=0))
                missed = max(missed, np.abs(rest[:heads, bin_] - self.rest[:, inside].mean(-1)).max())
        return float(missed / largest)


def _contributions(
    call: AttentionCall, channels: Int[np.ndarray, "group channel"]
) -> Float[np.ndarray, "query_head group position key_position"]:
    """Scaled product of query and key on each group of channels."""
    query, key = call.query[0].double().numpy(), call.key[0].double().numpy()
    key = np.repeat(key, len(query) // len(key), axis=0)
    return call.scaling * np.einsum("htpc,hspc->hpts", query[:, :, channels], key[:, :, channels])


def _move(before: AttentionCall, after: AttentionCall, channels: np.ndarray) -> float:
    """How far contributions move between two calls, relative to the largest."""
    old, new = _contributions(before, channels), _contributions(after, channels)
    return float(np.abs(new - old).max() / np.abs(old).max())


def _miss_angles(rotation: Rotation) -> float:
    expected = rotation.spec.inv_freq[..., None] * np.array([0, 1, 10, 100, SHIFT])
    return _largest(np.abs(np.angle(np.exp(1j * (rotation.angles - expected)))).flatten())


def _largest(values: Any) -> float:
    known = [float(value) for value in values if not np.isnan(value)]
    return max(known, default=np.nan)


def _config_agrees(model: Any, rotation: Rotation) -> bool:
    try:
        stated = spec_from_config(list_entries(model.config), length=SHIFT + 1)
    except ConfigError:
        return False
    spec = rotation.spec
    for row, layer in enumerate(map(int, rotation.layers)):
        pairs = spec.pair_count(row)
        if layer >= len(stated.head_dim) or stated.pair_count(layer) != pairs:
            return False
        close = np.allclose(spec.inv_freq[row, :pairs], stated.inv_freq[layer, :pairs], rtol=1e-5)
        same = np.array_equal(spec.channels[row, :pairs], stated.channels[layer, :pairs])
        factor = abs(spec.attention_factor[row] - stated.attention_factor[layer]) < 1e-6
        if not (close and same and factor):
            return False
    return True


def _windows_agree(model: Any, seen: Calls) -> bool:
    """Whether the config's windows are those of the calls; one as long as the text is like none."""
    try:
        layers = read_layers(list_entries(model.config))
    except ConfigError:
        return False
    for index, (call, _) in seen.items():
        length = call.query.shape[2]
        if min(layers[index].window or length, length) != min(call.window or length, length):
            return False
    return True

"""Captures with planted drift: real backgrounds, and chosen pairs that leave their range by a known size.

The background is resampled from a real capture of several sequences. Its sequences are drawn with
replacement, so all noise is real: the scatter between sequences and the width of the extremes, lag by lag.
What the pairs past the critical one really do beyond the trained length is taken out: their in-window
profile is repeated there, forwards and backwards in turn. In a planted pair the mean contribution then lies,
from its onset on, the planted size outside the range, give or take a tenth from sequence to sequence.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from ropediag.analysis.excursions import seen_scale
from ropediag.errors import CaptureError, ConfigError
from ropediag.schema import REPLICATES
from ropediag.store import Capture, write_whole

KINDS = ("shift", "swing")
VARIES = 0.1  # of its size: standard deviation of a planted drift over sequences

Arrays = dict[str, np.ndarray]
_LOW, _HIGH = "scores/lag_mean_min", "scores/lag_mean_max"
_MEAN, _REPLICATE = "scores/mean", "scores/replicate_mean"


@dataclass(frozen=True)
class Plant:
    """One pair that is made to drift.

    Attributes
    ----------
    layer, query_head, pair : which, by index on the axes of the capture
    onset : tokens, the lower edge of a lag bin past the trained length
    size : in-range standard deviations that the mean contribution lies outside its range
    kind : ``shift`` moves the mean, upwards or downwards; ``swing`` widens its oscillation to both sides, so
        that the mean over a wide bin does not move
    upwards : direction of a shift
    """

    layer: int
    query_head: int
    pair: int
    onset: int
    size: float
    kind: str = "shift"
    upwards: bool = True

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"kind must be one of {', '.join(KINDS)}: got {self.kind!r}.")
        if not self.size > 0:
            raise ConfigError(f"size must be above 0 in-range standard deviations: got {self.size}.")


def choose_plants(capture: Capture, share: float, size: float, seed: int) -> list[Plant]:
    """Choose pairs without a full turn at random, and for each an onset and a direction; its mean shifts.

    Onsets lie at the edges of bins that hold unseen lags of the pair alone, up to a quarter of the length.

    Parameters
    ----------
    share : of all pairs that a layer has, above 0
    size : in-range standard deviations
    """
    random = np.random.default_rng(seed)
    lag, length = capture.values("lag"), int(capture.attrs["length"])
    unseen = capture.training.split_bins(lag, np.append(lag[1:], length))[1][:, None]
    visible = np.isfinite(capture.values("scores/mean")) & (unseen & (lag <= length / 4))
    there = np.flatnonzero(visible.any(-1))
    if not len(there):
        raise ConfigError(
            f"{capture.path} is too short to plant in: no unseen lag below a quarter of its length."
        )
    plants = []
    for place in random.choice(there, max(1, round(share * len(there))), replace=False):
        layer, head, pair = (int(index) for index in np.unravel_index(place, visible.shape[:-1]))
        bin_ = random.choice(np.flatnonzero(visible[layer, head, pair]))
        plants.append(Plant(layer, head, pair, int(lag[bin_]), size, upwards=bool(random.random() < 0.5)))
    return plants


def plant_drift(capture: Capture, out: Path, plants: Sequence[Plant] = (), seed: int = 0) -> Path:
    """Write a capture with a resampled background in which the plants drift and nothing else does.

    Parameters
    ----------
    capture : a real capture of at least 8 sequences
    out : the file to write, NAME.h5; replaced if it exists
    plants : none for a capture in which nothing drifts
    seed : of the resampling

    Returns
    -------
    out

    Raises
    ------
    CaptureError
        If the capture has fewer than 8 sequences, or is not finished.
    ConfigError
        If the onset of a plant is no lag bin past its pair's trained reach, or its layer does not see it.
    """
    sequences = capture.sizes["sequence"]
    if sequences < REPLICATES:
        raise CaptureError(
            f"{capture.path} has {sequences} sequences: resampling takes at least {REPLICATES}."
        )
    if capture.missing_layers:
        raise CaptureError(
            f"{capture.path} is not finished: {len(capture.missing_layers)} (sequence, layer) units are "
            "missing. Finish it with ropediag capture --resume first."
        )
    random = np.random.default_rng(seed)
    arrays = {name: capture.values(name) for name in capture.variables}
    arrays |= _take_out_drift(capture, arrays)
    arrays |= _resample(capture, arrays, random.integers(0, sequences, sequences))
    for plant in plants:
        _plant(capture, arrays, plant, 1 + VARIES * random.standard_normal(sequences))
    coordinates = {axis: capture.values(axis) for axis in capture.sizes}
    kept = {name: value for name, value in capture.attrs.items() if name not in ("status", "schema_version")}
    return write_whole(out, coordinates, arrays, kept, force=True)


def _take_out_drift(capture: Capture, arrays: Arrays) -> Arrays:
    """Repeat the profile below its trained reach beyond it, for pairs without a full turn, noise apart.

    The scatter of the sequences around their mean stays. The width of the extremes is what the range of a
    profile that is the same everywhere would show: that of the slowest pair of the head, whose mean hardly
    moves within a bin.
    """
    lag, length = capture.values("lag"), int(capture.attrs["length"])
    reach = capture.training.reach()
    low, high = arrays[_LOW].astype(float), arrays[_HIGH].astype(float)
    middle, half = (low + high) / 2, (high - low) / 2
    scatter = middle - middle.mean(0)
    scale = _scales(capture, arrays)[..., None]
    slowest = np.isfinite(capture.values("rope/inv_freq")).sum(1) - 1  # of each layer, -1 without RoPE
    layers = np.arange(len(slowest))
    width = half[:, layers, :, slowest] / scale[layers, :, slowest][:, None]  # layer, sequence, head, bin
    width = width.transpose(1, 0, 2, 3)[:, :, :, None] * scale
    flat = {name: arrays[name].astype(float) for name in (_LOW, _HIGH, _MEAN, _REPLICATE)}
    coarse, replicate = capture.values("coarse_lag"), flat[_REPLICATE].copy()
    strays = replicate - replicate.mean(0)
    for trained in np.unique(reach[np.isfinite(reach)]).tolist():
        if not 2 <= trained < length:
            continue
        mine = (reach == trained)[:, None]  # layer, head, pair
        for bin_, shares in enumerate(fold_bins(lag, length, math.ceil(trained))):
            if lag[bin_] < trained:
                continue
            seen = shares > 0
            noise = scatter[..., bin_], width[..., bin_]
            for name, values in (
                (_LOW, low[..., seen].min(-1) + noise[0] - noise[1]),
                (_HIGH, high[..., seen].max(-1) + noise[0] + noise[1]),
                (_MEAN, arrays[_MEAN][..., seen].astype(float) @ shares[seen]),
            ):
                flat[name][..., bin_] = np.where(mine, values, flat[name][..., bin_])
        for bin_, shares in enumerate(fold_bins(coarse, length, math.ceil(trained))):
            if coarse[bin_] >= trained:
                seen = shares > 0
                values = replicate.mean(0)[..., seen] @ shares[seen] + strays[..., bin_]
                flat[_REPLICATE][..., bin_] = np.where(mine, values, flat[_REPLICATE][..., bin_])
    return {name: np.where(np.isfinite(arrays[name]), flat[name], arrays[name]) for name in flat}


def fold_bins(lag: Int[np.ndarray, " bin"], length: int, trained: int) -> Float[np.ndarray, "bin bin"]:
    """Map the lags of each bin into the window, forwards and backwards in turn: 0 .. trained - 1 .. 0 ..

    Returns
    -------
    (bin, bin) share of the lags of a bin (row) that are mapped into each bin of the window (column)
    """
    every = np.arange(length)
    turn = every % (2 * trained - 2)
    inside = np.where(turn < trained, turn, 2 * trained - 2 - turn)
    row, column = (np.searchsorted(lag, lags, side="right") - 1 for lags in (every, inside))
    counts = np.zeros((len(lag), len(lag)))
    np.add.at(counts, (row, column), 1.0)
    return counts / counts.sum(1, keepdims=True)


def _resample(capture: Capture, arrays: Arrays, drawn: Int[np.ndarray, " sequence"]) -> Arrays:
    """Put the drawn sequences in the place of the real ones, and move the mean by as much as they do."""
    coarse = np.searchsorted(capture.values("coarse_lag"), capture.values("lag"), side="right") - 1
    replicate = arrays[_REPLICATE]
    moved = (replicate[drawn].mean(0) - replicate.mean(0))[..., coarse]
    moved = np.where(np.isfinite(moved), moved, 0.0)  # a bin that not every replicate reaches stays
    return {
        _LOW: arrays[_LOW][drawn],
        _HIGH: arrays[_HIGH][drawn],
        _MEAN: arrays[_MEAN] + moved,
        _REPLICATE: replicate[drawn],
    }


def _plant(capture: Capture, arrays: Arrays, plant: Plant, factors: Float[np.ndarray, " sequence"]) -> None:
    """Move one pair out of its range from the onset on, in place."""
    lag, coarse = capture.values("lag"), capture.values("coarse_lag")
    place = (plant.layer, plant.query_head, plant.pair)
    low, high = arrays[_LOW][:, *place], arrays[_HIGH][:, *place]
    if plant.onset in lag and not np.isfinite(high[:, lag == plant.onset]).all():
        raise ConfigError(f"layer, head and pair {place} see no lag {plant.onset}: plant elsewhere.")
    reach = float(capture.training.reach()[plant.layer, plant.pair])
    if plant.onset not in lag or not plant.onset >= reach:
        raise ConfigError(
            f"an onset must be a lag bin's edge past the trained reach of its pair, {reach:g}: got "
            f"{plant.onset}."
        )
    size = plant.size * _scales(capture, arrays)[place] * factors[:, None]
    later = lag >= plant.onset
    inside = np.append(lag[1:], int(capture.attrs["length"])) <= reach
    upper, lower = high[:, inside].max(-1).mean(), low[:, inside].min(-1).mean()
    rise = size + (upper - high[:, later].mean(0))
    fall = size + (low[:, later].mean(0) - lower)
    if plant.kind == "swing":
        high[:, later] += rise
        low[:, later] -= fall
        return
    move = rise if plant.upwards else -fall
    high[:, later] += move
    low[:, later] += move
    arrays[_MEAN][*place, later] += move.mean(0)
    by_coarse = np.searchsorted(lag, coarse[coarse >= plant.onset]) - np.argmax(later)
    arrays[_REPLICATE][:, *place, coarse >= plant.onset] += move[:, by_coarse]


def _scales(capture: Capture, arrays: Arrays) -> Float[np.ndarray, "layer query_head pair"]:
    stop = np.append(capture.values("lag")[1:], int(capture.attrs["length"]))
    seen = stop <= capture.training.reach()[..., None]
    mean, std, count = (arrays[f"scores/{name}"].astype(float) for name in ("mean", "std", "count"))
    return np.stack([seen_scale(*layer) for layer in zip(mean, std, count, seen, strict=True)])

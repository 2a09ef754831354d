"""A made-up capture of a large model, for the benchmarks of what reads captures.

32 layers, 32 heads, 64 pairs, 65,536 tokens; pretraining at 4,096 and base 10,000. Every array is noise, which
compresses as badly as measured numbers do; the mean of the pairs past the critical one also falls by up to three
standard deviations past the training length, so that there is drift to find.
"""

from pathlib import Path

import numpy as np

from ropediag import schema
from ropediag.limits import critical_pair
from ropediag.rope import inv_freq, pair_channels
from ropediag.schema import lag_edges, position_edges
from ropediag.store import write_whole

LAYERS, HEADS, PAIRS, LENGTH, TRAINED, BASE = 32, 32, 64, 65_536, 4_096, 10_000.0
LEVELS = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
GROUPS = ("loss", "scores", "partial", "rows", "vectors")


def make_capture(path: Path, sequences: int = 1, length: int = LENGTH) -> Path:
    """Write the made-up capture; with several sequences its replicates are query blocks all the same."""
    coordinates = _make_coordinates(sequences, length)
    sizes = {name: len(values) for name, values in coordinates.items()}
    random = np.random.default_rng(0)
    arrays = {}
    for variable in schema.VARIABLES:
        if variable.group in GROUPS:
            shape = [sizes[dim] for dim in variable.dims]
            values = random.standard_normal(shape, dtype=np.float32)
            arrays[variable.path] = (
                np.abs(values) if variable.name.endswith(("std", "se", "norm")) else values
            )
    frequencies = inv_freq(2 * PAIRS, BASE)
    _shape_scores(arrays, coordinates, critical_pair(frequencies, TRAINED))
    arrays["loss/nll"] = (
        3 + 0.3 * arrays["loss/nll"] + np.where(coordinates["position"] > 1.5 * TRAINED, 2, 0)
    )
    arrays["loss/nll_windowed"] = 3 + 0.3 * arrays["loss/nll_windowed"]
    arrays["rows/query_position"] = np.tile(
        np.linspace(0, length - 1, sizes["row"]).astype(int), (sequences, 1)
    )
    arrays["vectors/angle_error"] = 1e-3 * arrays["vectors/angle_error"].astype(float)
    turned = frequencies[:, None] * coordinates["sample"] + arrays["vectors/angle_error"]
    arrays["vectors/angle"] = np.angle(np.exp(1j * turned))
    arrays["rope/inv_freq"] = np.broadcast_to(frequencies, (LAYERS, PAIRS))
    arrays["rope/channels"] = np.broadcast_to(pair_channels("half", 2 * PAIRS), (LAYERS, PAIRS, 2))
    arrays["rope/attention_factor"] = np.ones(LAYERS)
    arrays["rope/head_dim"] = np.full(LAYERS, 2 * PAIRS)
    arrays["rope/critical_pair"] = np.full(LAYERS, critical_pair(frequencies, TRAINED))
    attributes = {"kind": "capture", "model": "made-up", "length": length, "layout": "half", "base": BASE}
    attributes |= {"pretrain_base": BASE, "train_len": TRAINED, "tune_len": TRAINED, "dtype": "bfloat16"}
    return write_whole(path, coordinates, arrays, attributes)


def _make_coordinates(sequences: int, length: int) -> dict[str, np.ndarray]:
    replicates = schema.REPLICATES * sequences if sequences < schema.REPLICATES else sequences
    return {
        "sequence": np.arange(sequences),
        "layer": np.arange(LAYERS),
        "query_head": np.arange(HEADS),
        "kv_head": np.arange(HEADS),
        "pair": np.arange(PAIRS),
        "side": np.arange(2),
        "lag": np.array(lag_edges(length)),
        "coarse_lag": np.array(lag_edges(length, 2)),
        "replicate": np.arange(replicates),
        "position": np.arange(length),
        "position_bin": np.array(position_edges(length, 512)),
        "norm_bin": np.array(position_edges(length, 16)),
        "row": np.arange(32),
        "level": np.array(LEVELS),
        "sample": np.unique(np.geomspace(1, length - 1, 63).astype(int)),
    }


def _shape_scores(arrays: dict[str, np.ndarray], coordinates: dict[str, np.ndarray], critical: int) -> None:
    """Give the contributions a spread of 1 and a drift past the training length, extremes around the mean."""
    lag, pair = coordinates["lag"], coordinates["pair"]
    fall = np.clip(np.log2(np.maximum(lag, 1) / TRAINED), 0, 3)
    mean, error = arrays["scores/mean"], arrays["scores/mean_se"]
    mean *= 0.1
    mean[:, :, pair >= critical] -= fall.astype(np.float32)
    error *= 0.05
    arrays["scores/std"] = 1 + 0.1 * arrays["scores/std"]
    for end, sign in (("min", -1), ("max", 1)):
        edge = arrays[f"scores/lag_mean_{end}"]
        np.abs(edge, out=edge)
        edge *= 0.05 * sign
        edge += mean
    for end, sign in (("minimum", -3), ("maximum", 3)):
        arrays[f"rows/{end}"] = sign * (1 + np.abs(arrays[f"rows/{end}"]))
    arrays["rows/quantile"] = np.sort(arrays["rows/quantile"], axis=-1)
    arrays["scores/count"] = np.full((LAYERS, len(lag)), 1000)
    arrays["scores/replicate_count"] = np.full(
        (len(coordinates["replicate"]), LAYERS, len(coordinates["coarse_lag"])), 100
    )

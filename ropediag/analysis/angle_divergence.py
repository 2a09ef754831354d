"""Angle divergence: how far the distribution of a pair's angles at a length is from that of training."""

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from ropediag.analysis.diagnostic import diagnostic
from ropediag.analysis.labelled import label, make_geometry_axes
from ropediag.theory.training import Training

BINS = 360
START = 6.103515625e-05  # what every bin holds before counting, as in the released code: float16's smallest
EPSILON = 1e-3  # in the printed formula, whose value depends on it
AT_ONCE = 2**16  # positions
EDGE = 1e-6  # of a bin


@diagnostic(
    question="How differently are a pair's angles distributed at this length and in training?",
    high="the pair stands at angles at this length with frequencies that training did not show",
    interval="none: it follows from the frequencies",
    source="Wu et al. 2024, arXiv:2410.01490: reverse is its Table 3 and code, printed its equation 8",
    shows="reverse",
    training=True,
)
def measure_angle_divergence(
    training: Training, length: int, epsilon: float = EPSILON, bins: int = BINS
) -> xr.Dataset:
    """Compare, in bins of the turn, the angles of all positions below a length with those of training.

    Of several phases of training the nearest counts, pair by pair. The two directions of the divergence are
    different numbers. Angles are computed in float64. The released code computes them in float32, whose
    rounding moves angles between bins: its means differ by up to 0.2%, and from one processor to another in
    the fifth digit. A training length of fewer tokens than bins leaves bins empty for every pair, and all
    diverge; take fewer bins then.

    Parameters
    ----------
    length : tokens
    epsilon : added to both frequencies in ``printed``, which has no value without it
    bins : equal parts of the turn; 360 in the paper

    Returns
    -------
    xr.Dataset
        ``reverse`` (layer, pair): KL(training || length). ``printed`` (layer, pair): KL(length || training),
        with ``epsilon``. ``mean_reverse``, ``mean_printed`` (layer): means over pairs.
    """
    now = training.inv_freq
    axes = make_geometry_axes(*now.shape)
    by_phase = [
        _diverge(phase.inv_freq, phase.length, now, length, epsilon, bins) for phase in training.phases
    ]
    divergences = {
        name: xr.DataArray(np.min([each[name] for each in by_phase], axis=0), axes, dims=("layer", "pair"))
        for name in by_phase[0]
    }
    directions = {
        "reverse": f"KL(angles of training || angles within {length:,} tokens)",
        "printed": f"KL(angles within {length:,} tokens || angles of training), epsilon {epsilon:g}",
    }
    table = {name: (divergences[name], "nats", meaning) for name, meaning in directions.items()}
    means = {
        f"mean_{name}": (divergences[name].mean("pair"), "nats", f"{meaning}, mean over pairs")
        for name, meaning in directions.items()
    }
    return label(table | means)


def _diverge(
    before: Float[np.ndarray, "layer pair"],
    train_len: int,
    now: Float[np.ndarray, "layer pair"],
    length: int,
    epsilon: float,
    bins: int,
) -> dict[str, Float[np.ndarray, "layer pair"]]:
    """Both directions for every pair; equal pairs of different layers are counted once."""
    real = np.isfinite(now) & np.isfinite(before)
    both, place = np.unique(np.stack([before[real], now[real]]), axis=1, return_inverse=True)
    trained = count_angles(both[0], train_len, bins)
    reached = count_angles(both[1], length, bins)
    started, spread = (trained + START) / train_len, (reached + START) / length
    shares = trained / train_len, reached / length
    found = {
        "reverse": (started * np.log(started / spread)).sum(-1),
        "printed": (shares[1] * np.log((shares[1] + epsilon) / (shares[0] + epsilon))).sum(-1),
    }
    padded = {name: np.full(now.shape, np.nan) for name in found}
    for name, values in found.items():
        padded[name][real] = values[place]
    return padded


def count_angles(
    inv_freq: Float[np.ndarray, " pair"], length: int, bins: int = BINS
) -> Int[np.ndarray, "pair bin"]:
    """Count the positions below ``length`` whose angle falls into each of equal bins of the turn.

    An angle within ``EDGE`` below the edge of a bin counts as on it, so that rounding decides nothing.
    """
    counts = np.zeros((len(inv_freq), bins), dtype=np.int64)
    turns = inv_freq[:, None] / (2 * np.pi)  # a position
    first = bins * np.arange(len(inv_freq))[:, None]
    for start in range(0, length, AT_ONCE):
        positions = np.arange(start, min(start + AT_ONCE, length), dtype=np.float64)
        place = np.floor(positions * turns % 1 * bins + EDGE).astype(np.int64) % bins
        counts += np.bincount((place + first).ravel(), minlength=counts.size).reshape(counts.shape)
    return counts

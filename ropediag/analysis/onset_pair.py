"""The onset pair: the fastest pair that drifts, as measured, beside the critical pair of the theory.

The theory counts a pair as trained once it has made a full turn in pretraining. LongRoPE2 found the real
critical pair earlier than that (25 and 30 where theory said 31 and 35); small models show it one to three
pairs later. So both are given, and neither is taken for the other.
"""

import numpy as np
import xarray as xr
from jaxtyping import Float

from ropediag.analysis.diagnostic import diagnostic
from ropediag.analysis.drift import LEAST, measure_drift
from ropediag.store import Capture


@diagnostic(
    question="Which is the fastest pair that drifts, in each head, each layer and the model?",
    high="only slow pairs drift; past the critical pair, training covered more than the theory counts",
    interval="the pairs at which the upper and lower end of the drift's 95 % interval first exceed the least",
    source="Liu et al. 2023, arXiv:2310.05209 (critical pair); Shang et al. 2025, arXiv:2502.20082 (a "
    "measured one that differs)",
    shows="onset_pair",
)
def measure_onset_pair(capture: Capture) -> xr.Dataset:
    """Find the onset pairs; arguments and errors as ``measure_drift``."""
    return find_onset_pairs(measure_drift(capture), capture.critical_pair)


def find_onset_pairs(drift: xr.Dataset, critical_pair: xr.DataArray) -> xr.Dataset:
    """Find the onset pairs in a drift that was measured.

    Parameters
    ----------
    drift : what ``measure_drift`` returned
    critical_pair : (layer,) the theory's; -1 without RoPE

    Returns
    -------
    xr.Dataset
        ``onset_pair``, ``onset_pair_low``, ``onset_pair_high`` (layer, query_head): the first pair that
        drifts; ``layer_*`` (layer) and ``model_*`` (no axis): the first pair that drifts in one of the heads
        and whose drift, mean over them, exceeds ``LEAST``; ``critical_pair`` (layer);
        ``past_critical`` (layer) and ``model_past_critical``: share of all drift that lies in the critical
        pair and slower ones. NaN where no pair drifts.
    """
    value, margin, drifts = (
        drift.drift.values,
        (drift.drift_high - drift.drift_low).values / 2,
        drift.drifts.values,
    )
    past = drift.pair.values >= critical_pair.values[:, None]
    found: dict[str, tuple[tuple[str, ...], np.ndarray, str, str]] = {}

    def add(prefix: str, axes: tuple[str, ...], pairs: tuple[np.ndarray, ...], whose: str) -> None:
        meanings = [
            "fastest pair that drifts",
            *(f"{end} end of its 95 % interval" for end in ("lower", "upper")),
        ]
        for ending, array, meaning in zip(("", "_low", "_high"), pairs, meanings, strict=True):
            found[f"{prefix}onset_pair{ending}"] = (axes, array, "1", f"{meaning}, {whose}")

    add("", ("layer", "query_head"), _find_in_heads(value, margin, drifts), "in the head")
    for prefix, axes, over, whose in (("layer_", ("layer",), (1,), "layer"), ("model_", (), (0, 1), "model")):
        add(prefix, axes, _average(value, margin, drifts, over), f"mean over the heads of the {whose}")
    share = ("1", "share of the drift in the critical pair and slower ones")
    found["past_critical"] = (("layer",), _share(value, past[:, None], (1, 2)), *share)
    found["model_past_critical"] = ((), _share(value, past[:, None], (0, 1, 2)), *share)
    found["critical_pair"] = (
        ("layer",),
        np.where(critical_pair.values >= 0, critical_pair.values, np.nan),
        "1",
        "first pair without a full turn in training",
    )
    return xr.Dataset(
        {name: (axes, array, {"units": u, "long_name": m}) for name, (axes, array, u, m) in found.items()},
        {axis: drift[axis] for axis in ("layer", "query_head")},
        {"least": LEAST},
    )


def interpolate_onset(drift: Float[np.ndarray, " pair"], onset_pair: float) -> float:
    """Find the place between two pairs at which the mean drift of a model passes ``LEAST``.

    Parameters
    ----------
    drift : of each pair, mean over the heads of the model; NaN, which counts as 0, without unseen lags
    onset_pair : ``model_onset_pair``

    Returns
    -------
    Above ``onset_pair - 1`` and at most ``onset_pair``; NaN where no pair drifts
    """
    if not np.isfinite(onset_pair) or onset_pair == 0:
        return float(onset_pair)
    before, after = np.nan_to_num(drift[int(onset_pair) - 1 : int(onset_pair) + 1])
    return float(onset_pair - np.clip((after - LEAST) / (after - before), 0, 1))


def _first(flags: np.ndarray) -> Float[np.ndarray, "*axis"]:
    """Index of the first true one along the last axis, NaN if there is none."""
    return np.where(flags.any(-1), flags.argmax(-1).astype(float), np.nan)


def _ends(value: np.ndarray, margin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    with np.errstate(invalid="ignore"):
        return _first(value + margin > LEAST), _first(value - margin > LEAST)


def _find_in_heads(
    value: Float[np.ndarray, "layer query_head pair"],
    margin: Float[np.ndarray, "layer query_head pair"],
    drifts: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The first pair that drifts, after false-discovery control, and the first that may."""
    onset = _first(drifts)
    low, high = _ends(value, margin)
    return onset, np.fmin(low, onset) + 0 * onset, np.fmax(high, onset) + 0 * onset


def _average(
    value: Float[np.ndarray, "layer query_head pair"],
    margin: Float[np.ndarray, "layer query_head pair"],
    drifts: np.ndarray,
    axes: tuple[int, ...],
) -> tuple[np.ndarray, ...]:
    """Onset of the mean over heads, among pairs that drift in one of them; errors taken as independent."""
    count = np.isfinite(value).sum(axes)
    heads = np.where(count > 0, count, np.nan)
    mean = np.nansum(value, axes) / heads
    spread = np.sqrt(np.nansum(margin**2, axes)) / heads
    with np.errstate(invalid="ignore"):
        onset = _first((mean > LEAST) & drifts.any(axes))
    low, high = _ends(mean, spread)
    ends = np.fmin(low, onset) + 0 * onset, np.maximum(high, onset)
    return onset, *(np.asarray(end) for end in ends)


def _share(value: np.ndarray, past: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    total = np.nansum(value, axes)
    return np.asarray(np.nansum(np.where(past, value, 0.0), axes) / np.where(total > 0, total, np.nan))

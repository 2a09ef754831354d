"""The loss beside the logits: does the excess rise where the partial logits leave their range?

A rank correlation along the sequence shows that two things go together, not that one causes the other;
``ropediag ablate`` tests that.
"""

import numpy as np
import scipy
import xarray as xr
from jaxtyping import Float

from ropediag.analysis.breakdown import SIDES
from ropediag.analysis.diagnostic import diagnostic
from ropediag.analysis.drift import control_false_discoveries
from ropediag.analysis.window import trained_length
from ropediag.errors import CaptureError
from ropediag.store import Capture

REACH = 4  # training lengths: the break lies within; further out excess and logits are plateaus
LEAST_BINS = 16
LARGEST = 1 - 1e-9  # correlation whose z is still finite


@diagnostic(
    question="Does the excess loss rise where a head's partial logits move, and with which pairs'?",
    high="the excess rises and falls with the move of these pairs' joint logit",
    interval="95 % over sequences, by Student's t of Fisher's z, all heads by Benjamini and "
    "Hochberg; none with a single one",
    source="Liu et al. 2023, arXiv:2310.05209, whose figure shows both; Spearman's rank correlation",
    shows="correlation",
)
def measure_loss_link(capture: Capture) -> xr.Dataset:
    """Correlate the excess with the move of the partial logits, over positions, in ranks.

    Positions are the bins of the file up to four times the trained length, at least 16 of them. The move is
    the distance of a bin's mean partial logit from its mean within the trained length.

    Returns
    -------
    xr.Dataset over (side, layer, query_head)
        ``correlation``, ``correlation_low``, ``correlation_high``: mean over sequences of Fisher's z, as a
        correlation, -1 to 1; ``q_value``: that there is any, among all heads and both sides. ``side`` is
        ``before`` or ``past`` the critical pair.

    Raises
    ------
    CaptureError
        If the capture has no windowed loss.
    """
    if "loss/nll_windowed" not in capture:
        raise CaptureError(f"{capture.path} has no windowed loss, so no excess: capture without --no-excess.")
    trained, length = trained_length(capture), int(capture.attrs["length"])
    edges = capture.values("position_bin")
    bins = max(LEAST_BINS, int((edges < REACH * trained).sum()))
    excess = (capture["loss/nll"] - capture["loss/nll_windowed"]).values.astype(float)
    excess[:, 0] = 0.0  # nothing predicts the first token
    harm = np.add.reduceat(excess, edges, axis=-1) / np.diff(edges, append=length)
    moves = [_move(capture.values(f"partial/{side}_mean"), edges < trained) for side in SIDES]
    found = np.stack([correlate(move[..., :bins], harm[:, :bins]) for move in moves], axis=1)
    mean, low, high, p_value = average_correlations(found)
    named = {
        "correlation": (mean, "rank correlation of the excess with the move of the partial logit"),
        "correlation_low": (low, "lower end of its 95 % interval"),
        "correlation_high": (high, "upper end of its 95 % interval"),
        "q_value": (
            control_false_discoveries(p_value),
            "lowest rate of false discoveries at which the head is said to follow the excess",
        ),
    }
    template = capture["partial/past_mean"]
    axes = ("side", "layer", "query_head")
    sides = ("side", list(SIDES), {"units": "1", "long_name": "pairs before or past the critical one"})
    return xr.Dataset(
        {name: (axes, array, {"units": "1", "long_name": text}) for name, (array, text) in named.items()},
        {"side": sides, "layer": template.layer, "query_head": template.query_head},
    )


def _move(
    mean: Float[np.ndarray, "sequence layer query_head bin"], inside: np.ndarray
) -> Float[np.ndarray, "sequence layer query_head bin"]:
    """Distance of the mean partial logit from its in-window mean."""
    return np.abs(mean - mean[..., inside].astype(float).mean(-1, keepdims=True))


def correlate(
    move: Float[np.ndarray, "sequence layer query_head bin"], harm: Float[np.ndarray, "sequence bin"]
) -> Float[np.ndarray, "sequence layer query_head"]:
    """Spearman's rank correlation over bins, for each sequence, layer and head; NaN where nothing varies."""
    ranks = scipy.stats.rankdata(move, axis=-1)
    others = scipy.stats.rankdata(harm, axis=-1)[:, None, None]
    ranks, others = (values - values.mean(-1, keepdims=True) for values in (ranks, others))
    size = np.sqrt((ranks**2).sum(-1) * (others**2).sum(-1))
    varies = np.isfinite(move).all(-1) & (size > 0)
    return np.divide((ranks * others).sum(-1), size, out=np.full(size.shape, np.nan), where=varies)


def average_correlations(
    found: Float[np.ndarray, "sequence ..."],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Mean over sequences, its 95 % interval and p-value by Student's t, of Fisher's z: none exceeds 1."""
    z = np.arctanh(np.clip(found, -LARGEST, LARGEST))
    count, mean = len(z), z.mean(0)
    if count < 2:
        unknown = np.full(mean.shape, np.nan)
        return np.tanh(mean), unknown, unknown, unknown
    error = z.std(0, ddof=1) / np.sqrt(count)
    half = scipy.stats.t.ppf(0.975, count - 1) * error
    with np.errstate(divide="ignore", invalid="ignore"):
        p_value = 2 * scipy.stats.t.sf(np.abs(mean) / error, count - 1)
    return np.tanh(mean), np.tanh(mean - half), np.tanh(mean + half), p_value

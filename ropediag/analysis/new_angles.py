"""New angles: the part of a turn that a pair shows at a length but never showed in training."""

import numpy as np
import xarray as xr

from ropediag.analysis.diagnostic import diagnostic
from ropediag.analysis.labelled import label, make_geometry_axes
from ropediag.theory.training import ALL_LAGS, Training


@diagnostic(
    question="Which pairs turn to angles at this length that training never showed?",
    high="that share of a whole turn is new to the pair at this length",
    interval="none: it follows from the frequencies",
    source="Liu et al. 2023, arXiv:2310.05209: out of distribution is an angle not seen in training",
    shows="new_fraction",
    training=True,
)
def measure_new_angles(training: Training, length: int) -> xr.Dataset:
    """Compare the angles that pairs reach within a length, and their layer's window, with those of training.

    An angle counts as new by cosine and sine together: either alone runs out of new values earlier.

    Parameters
    ----------
    length : tokens

    Returns
    -------
    xr.Dataset
        ``new_fraction`` (layer, pair): share of a turn shown within ``length`` and not in training.
        ``coverage_trained``, ``coverage_length`` (layer, pair): share of a turn shown in training and within
        ``length``. ``period``, ``reach`` (layer, pair): tokens. ``mean_new`` (layer): mean new fraction over
        the pairs that made no full turn in training, NaN where all did.
    """
    met = np.where(training.window == ALL_LAGS, length, np.minimum(training.window, length))
    reached = np.minimum(1.0, training.inv_freq * met[:, None] / (2 * np.pi))
    axes = make_geometry_axes(*training.inv_freq.shape)
    coverage_trained, coverage_length, period, reach = (
        xr.DataArray(values, axes, dims=("layer", "pair"))
        for values in (np.minimum(1.0, training.turns), reached, training.period, training.reach())
    )
    new = (coverage_length - coverage_trained).clip(min=0.0)
    return label(
        {
            "new_fraction": (new, "1", f"share of a turn new at {length:,} tokens"),
            "coverage_trained": (coverage_trained, "1", "share of a turn seen in training"),
            "coverage_length": (coverage_length, "1", f"share of a turn shown within {length:,} tokens"),
            "period": (period, "tokens", "tokens per turn"),
            "reach": (reach, "tokens", "trained reach: first lag at an unseen angle"),
            "mean_new": (
                new.where(coverage_trained < 1).mean("pair"),
                "1",
                "mean new share of a turn of the pairs without a full one in training",
            ),
        }
    )

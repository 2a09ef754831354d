"""New angles: the part of a turn that a pair shows at a length but never showed in training."""

import numpy as np
import xarray as xr
from jaxtyping import Float

from ropediag.analysis.diagnostic import diagnostic
from ropediag.analysis.labelled import label, make_geometry_axes
from ropediag.errors import ConfigError
from ropediag.limits import coverage
from ropediag.rope import RopeSpec, inv_freq


@diagnostic(
    question="Which pairs turn to angles at this length that training never showed?",
    high="that share of a whole turn is new to the pair at this length",
    interval="none: it follows from the frequencies",
    source="Liu et al. 2023, arXiv:2310.05209: out of distribution is an angle not seen in training",
    shows="new_fraction",
    geometry=True,
)
def measure_new_angles(
    spec: RopeSpec, length: int, trained: Float[np.ndarray, "layer pair"] | None = None
) -> xr.Dataset:
    """Compare the angles reached within a length with those of training, as if every layer saw every lag.

    An angle counts as new by cosine and sine together: either alone runs out of new values earlier.

    Parameters
    ----------
    length : tokens
    trained : radians per token in pretraining, for models scaled since; see ``trained_inv_freq``

    Returns
    -------
    xr.Dataset
        ``new_fraction`` (layer, pair): share of a turn shown within ``length`` and not in training.
        ``coverage_trained``, ``coverage_length`` (layer, pair): share of a turn shown in training and within
        ``length``. ``period`` (layer, pair). ``mean_new`` (layer): mean new fraction over the pairs that made
        no full turn in training, NaN where all did.

    Raises
    ------
    ConfigError
        If the training length is not known.
    """
    seen = cover_training(spec, trained)
    reached = coverage(spec.inv_freq, length)
    axes = make_geometry_axes(*spec.inv_freq.shape)
    coverage_trained, coverage_length, period = (
        xr.DataArray(values, axes, dims=("layer", "pair")) for values in (seen, reached, spec.periods)
    )
    new = (coverage_length - coverage_trained).clip(min=0.0)
    return label(
        {
            "new_fraction": (new, "1", f"share of a turn new at {length:,} tokens"),
            "coverage_trained": (coverage_trained, "1", "share of a turn seen in training"),
            "coverage_length": (coverage_length, "1", f"share of a turn shown within {length:,} tokens"),
            "period": (period, "tokens", "tokens per turn"),
            "mean_new": (
                new.where(coverage_trained < 1).mean("pair"),
                "1",
                "mean new share of a turn of the pairs without a full one in training",
            ),
        }
    )


def cover_training(
    spec: RopeSpec, trained: Float[np.ndarray, "layer pair"] | None = None
) -> Float[np.ndarray, "layer pair"]:
    """Compute the share of a turn each pair saw in pretraining, or in tuning if that showed more.

    Raises
    ------
    ConfigError
        If the training length is not known.
    """
    seen = coverage(trained_inv_freq(spec) if trained is None else trained, check_train_len(spec))
    if spec.tune_len and spec.tune_len >= 2:
        seen = np.maximum(seen, coverage(spec.inv_freq, spec.tune_len))
    return seen


def check_train_len(spec: RopeSpec) -> int:
    """Give the length of pretraining, tokens.

    Raises
    ------
    ConfigError
        If it is not known.
    """
    if not spec.train_len:
        raise ConfigError(
            "this needs the length of pretraining: the geometry does not state it. Pass train_len to the "
            "RopeSpec, or capture the model again with --train-len."
        )
    return spec.train_len


def trained_inv_freq(spec: RopeSpec) -> Float[np.ndarray, "layer pair"]:
    """Give the frequencies of pretraining, radians per token, NaN where padded.

    Those of plain RoPE under the base of pretraining if it is known to be another; the present ones
    otherwise, since a geometry alone does not tell whether a scaling rule came before pretraining or after.
    """
    if spec.pretrain_base is None or spec.pretrain_base == spec.base:
        return np.array(spec.inv_freq)
    found = np.full(spec.inv_freq.shape, np.nan)
    for layer in range(len(found)):
        pairs = spec.pair_count(layer)
        if pairs:
            found[layer, :pairs] = inv_freq(2 * pairs, spec.pretrain_base)
    return found

"""Phase gap: how far a pair's period is from a whole number of tokens, and how the miss adds up."""

import numpy as np
import xarray as xr

from ropediag.analysis.diagnostic import diagnostic
from ropediag.analysis.labelled import label, make_geometry_axes
from ropediag.rope import RopeSpec


@diagnostic(
    question="Which pairs meet new angles at every turn, because their period is no whole number of tokens?",
    high="a turn ends that far from the angle where it began, so later turns show angles between the trained",
    interval="none: it follows from the frequencies",
    source="Resonance RoPE 2024, arXiv:2403.00071: periods rounded to whole tokens; the gap is ropediag's",
    shows="gap",
    geometry=True,
)
def measure_phase_gap(spec: RopeSpec, length: int) -> xr.Dataset:
    """Compare each period with the nearest whole number of tokens, 1 or more.

    Returns
    -------
    xr.Dataset, by (layer, pair); NaN for a pair that never turns
        ``gap``: angle left or overshot after that many tokens, absolute. ``miss``: period minus that number.
        ``drift``: gaps of all turns within ``length``, added up. ``resonant_inv_freq``: frequency whose
        period is that number.
    """
    axes = make_geometry_axes(*spec.inv_freq.shape)
    frequency, period = (
        xr.DataArray(np.array(values), axes, dims=("layer", "pair"))
        for values in (spec.inv_freq, spec.periods)
    )
    period = period.where(np.isfinite(period))
    whole = period.round().clip(min=1)
    miss = period - whole
    gap = abs(miss * frequency)
    return label(
        {
            "gap": (gap, "rad", "angle missed in a turn of whole tokens"),
            "miss": (miss, "tokens", "period minus the nearest whole number of tokens"),
            "drift": (gap * length / whole, "rad", f"angles missed, added up over {length:,} tokens"),
            "resonant_inv_freq": (2 * np.pi / whole, "rad/token", "frequency with a period of whole tokens"),
        }
    )

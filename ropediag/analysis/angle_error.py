"""Angle error: how far the rotation that a model really applies is from what its config states."""

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from ropediag.analysis.diagnostic import diagnostic
from ropediag.analysis.labelled import label
from ropediag.store import Capture


@diagnostic(
    question="Does the model's own arithmetic turn its pairs by the right angles this far out?",
    high="the pair is turned that much too far or too little; far above float32's own, 16 bits are at work",
    interval="none: the rotation does not depend on the text. At the capture's sampled positions",
    source="after arXiv:2411.13476 (bfloat16 breaks RoPE); measured on the model itself",
    shows="error",
)
def measure_angle_error(capture: Capture) -> xr.Dataset:
    """Measure the error of the applied angle, and that of float32 arithmetic on the model's frequencies.

    The angle is compared with position times the frequency that the config states, in float64. A model whose
    frequencies were rounded to 16 bits is off by a share of each angle, which grows with the position.

    Returns
    -------
    xr.Dataset
        ``error``, ``float32_error`` (layer, pair, sample): absolute error at each sampled position.
        ``worst``, ``mean``, ``worst_float32`` (layer, pair): over the positions.
    """
    error = abs(capture["vectors/angle_error"])
    frequencies = capture["rope/inv_freq"]
    own = xr.DataArray(
        find_float32_error(frequencies.values, error["sample"].values), error.coords, dims=error.dims
    )
    return label(
        {
            "error": (error, "rad", "absolute error of the angle that the model applied"),
            "float32_error": (own, "rad", "absolute error of the angle in float32"),
            "worst": (error.max("sample"), "rad", "largest absolute error of the model's angle"),
            "mean": (error.mean("sample"), "rad", "mean absolute error of the model's angle"),
            "worst_float32": (own.max("sample"), "rad", "largest absolute error of the angle in float32"),
        }
    )


def find_float32_error(
    inv_freq: Float[np.ndarray, "*layer pair"], positions: Int[np.ndarray, " sample"]
) -> Float[np.ndarray, "*layer pair sample"]:
    """Compare position times frequency in float32, both rounded before, with the same in float64.

    Returns
    -------
    absolute error, radians
    """
    single = inv_freq.astype(np.float32)[..., None] * positions.astype(np.float32)
    return abs(single.astype(np.float64) - inv_freq[..., None] * positions)

"""One pair on the circle: the arc of angles that training showed, and the arc that this length shows.

A pair's contribution depends on the lag through the angle lag times frequency alone. What is seen is an arc
from 0: up to the longest trained lag, and up to the longest lag now. Angles are radians.
"""

import numpy as np
import xarray as xr

from ropediag.analysis.labelled import make_axis
from ropediag.analysis.window import visible_lags
from ropediag.store import Capture

TURN = 2 * np.pi


def measure_pair_angles(capture: Capture, layer: int, pair: int) -> xr.Dataset:
    """Compare the angles of a pair in training with those at the capture's length.

    Parameters
    ----------
    layer, pair : by the capture's coordinates

    Returns
    -------
    xr.Dataset
        ``arc_trained``, ``arc_length``: angle up to which the pair turned in training, in any phase, and
        within this length or the layer's window, at most a whole turn; ``coverage_trained``,
        ``coverage_length``: the same as shares of a turn; ``new_fraction``: share that only this length
        shows; ``turns``: of the longest lag; ``period``: tokens. ``angle`` (sample): what the model applied
        at sampled positions, 0 to a turn; ``angle_error`` (sample): that minus position times frequency;
        ``seen`` (sample): whether the angle lies on the trained arc. NaN where the layer has no such pair.

    Raises
    ------
    ConfigError
        If the capture has no such layer or pair, or does not state the training length.
    """
    row, place = capture.place("layer", layer), capture.place("pair", pair)
    training, length = capture.training, int(capture.attrs["length"])
    window = int(visible_lags(capture)[row]) or length  # 0: a layer that is still to come
    now, trained = float(training.inv_freq[row, place]), float(training.angle[row, place])
    reached = now * min(length, window)
    arc_trained, arc_length = min(trained, TURN), min(reached, TURN)
    if np.isnan(now):
        arc_trained = arc_length = np.nan
    with np.errstate(divide="ignore"):
        period = TURN / np.float64(now)
    scalars = {
        "arc_trained": (arc_trained, "rad", "angles seen in training"),
        "arc_length": (arc_length, "rad", f"angles shown within {length:,} tokens"),
        "coverage_trained": (arc_trained / TURN, "1", "share of a turn seen in training"),
        "coverage_length": (arc_length / TURN, "1", f"share of a turn shown within {length:,} tokens"),
        "new_fraction": (
            np.maximum(arc_length - arc_trained, 0.0) / TURN,
            "1",
            f"share of a turn new at {length:,} tokens",
        ),
        "turns": (reached / TURN, "1", "turns at the longest lag"),
        "period": (period, "tokens", "period of the pair"),
    }
    return xr.Dataset(
        {
            name: ((), value, {"units": unit, "long_name": text})
            for name, (value, unit, text) in scalars.items()
        }
        | _read_samples(capture, layer, pair, arc_trained),
        attrs={"model": str(capture.attrs.get("model", "")), "layer": layer, "pair": pair, "length": length},
    )


def _read_samples(capture: Capture, layer: int, pair: int, arc: float) -> dict[str, xr.DataArray]:
    """The rotation that the model applied, at the sampled positions; nothing if the capture has none."""
    if "vectors/angle" not in capture:
        return {}
    at = {"layer": layer, "pair": pair}
    angle = capture.values("vectors/angle", **at) % TURN
    table = {
        "angle": (angle, "rad", "rotation that the model applied at the position"),
        "angle_error": (
            capture.values("vectors/angle_error", **at),
            "rad",
            "applied angle minus position times frequency",
        ),
        "seen": (angle <= arc, "1", "whether training showed the angle"),
    }
    sample = make_axis("sample", capture.values("sample"))
    return {
        name: xr.DataArray(array, {"sample": sample}, attrs={"units": unit, "long_name": text})
        for name, (array, unit, text) in table.items()
    }

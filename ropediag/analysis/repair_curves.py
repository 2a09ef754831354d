"""The loss under an intervention by position, beside that of the untouched model and that in windows."""

import numpy as np
import xarray as xr

from ropediag.analysis.breakdown import smooth_by_ratio
from ropediag.analysis.repair_figures import read_figures
from ropediag.store import Capture

LEAST_SPAN = 32  # tokens that a mean covers at least


def measure_repair_curves(ablation: Capture) -> xr.Dataset:
    """Average the losses over sequences and over stretches that grow with the position.

    Parameters
    ----------
    ablation : an open file of kind ``ablation``

    Returns
    -------
    xr.Dataset over position, nats per token
        ``nll``, ``nll_windowed``: of the untouched model, with full context and in windows of the training
        length; ``nll_changed``: under the intervention, at the first of its multiples of the reach if it
        has several; with random sets also ``nll_random``, mean over
        them. Attributes ``model``, ``change``, ``pairs`` and ``trained``, tokens.

    Raises
    ------
    ConfigError
        If the file is no ablation.
    FormatError
        If its figures are missing or malformed, or it holds no losses.
    """
    figures = read_figures(ablation)
    span = min(max(LEAST_SPAN, figures.trained // 4), figures.length // 2)
    changed = _read_leading(ablation)
    losses = {
        "nll": (ablation.values("loss/nll"), "untouched"),
        "nll_windowed": (ablation.values("loss/nll_windowed"), "untouched, in windows"),
        "nll_changed": (changed[0], f"{figures.pairs}: {figures.change}"),
    }
    if len(changed) > 1:
        losses["nll_random"] = (changed[1:].mean(0), f"random sets of pairs, mean of {len(changed) - 1}")
    curves = {}
    for name, (values, meaning) in losses.items():
        centres, smooth = smooth_by_ratio(values.astype(float), span)
        where = ("position", centres, {"units": "tokens", "long_name": "position of the predicted token"})
        curves[name] = xr.DataArray(
            np.nanmean(smooth, axis=0),
            {"position": where},
            ("position",),
            attrs={"units": "nats per token", "long_name": meaning},
        )
    attrs = {name: getattr(figures, name) for name in ("model", "change", "pairs", "trained", "length")}
    return xr.Dataset(curves, attrs=attrs)


def _read_leading(ablation: Capture) -> np.ndarray:
    """Read the losses (run, sequence, position) of the runs at the first multiple of the reach."""
    changed = ablation["ablation/nll"].values.astype(float)
    if "ablation/at" not in ablation:
        return changed
    at = ablation.values("ablation/at")
    return changed[at == at[0]]

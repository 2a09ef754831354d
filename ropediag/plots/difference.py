"""The difference of two captures in one variable of a diagnostic: a map whose colours are centred on zero."""

import plotly.graph_objects as go
import xarray as xr

from ropediag.plots.diagnostic import plot_diagnostic
from ropediag.plots.style import DIVERGING


def plot_difference(found: xr.Dataset, critical_pair: xr.DataArray | None = None) -> go.Figure:
    """Draw a difference; colours end at its ``reach``, which the few largest cells may exceed.

    Parameters
    ----------
    found : as ``ropediag.analysis.difference_map.map_difference`` gives it
    critical_pair : of the capture that is subtracted, the selected one; as for ``plot_diagnostic``

    Returns
    -------
    go.Figure
        As ``plot_diagnostic`` draws the variable itself.
    """
    figure = plot_diagnostic(found, "difference", critical_pair)
    reach = found.attrs["reach"] or 1.0
    figure.update_traces({"name": "critical pair of the selected capture"}, selector={"type": "scatter"})
    return figure.update_traces(
        {"colorscale": DIVERGING, "zmin": -reach, "zmax": reach}, selector={"type": "heatmap"}
    )

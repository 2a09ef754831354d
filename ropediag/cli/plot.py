"""``ropediag plot``: any diagnostic of a capture as a figure, the same one as everywhere."""

from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import plotly.graph_objects as go
    import xarray as xr

    from ropediag.store import Capture

PANEL = "Look"
EXAMPLE = "ropediag plot captures/my-demo-8192.h5 drift --out drift.html"


def command(
    capture: Annotated[
        Path | None, typer.Argument(help="A capture: NAME.h5, or NAME.h5.partial while it runs.")
    ] = None,
    name: Annotated[str, typer.Argument(help="Diagnostic; --list names them.")] = "breakdown",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Figure to write, *.html, *.svg, *.png or *.json (default: CAPTURE-NAME.html).",
        ),
    ] = None,
    variable: Annotated[
        str | None, typer.Option(help="Variable of the diagnostic; the one it shows if not given.")
    ] = None,
    layer: Annotated[int | None, typer.Option(help="Draw this layer alone.")] = None,
    query_head: Annotated[int | None, typer.Option(help="Draw this query head alone.")] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the diagnostics and what they ask.")] = False,
) -> None:
    """Draw a diagnostic of a capture; without a name the breakdown: partial logits and loss by position."""
    from ropediag.analysis.diagnostic import list_diagnostics
    from ropediag.errors import ConfigError

    diagnostics = list_diagnostics()
    if listed:
        for known, diagnostic in diagnostics.items():
            typer.echo(f"{known:<22}{diagnostic.question}")
        return
    if capture is None:
        raise ConfigError("name a capture, such as captures/my-demo-8192.h5, or pass --list.")
    if name not in diagnostics:
        close = get_close_matches(name, diagnostics, n=1)
        meant = f"did you mean {close[0]}?" if close else f"there are {', '.join(diagnostics)}."
        raise ConfigError(f"there is no diagnostic {name!r}: {meant}")
    out = out or Path(f"{capture.name.removesuffix('.partial').removesuffix('.h5')}-{name}.html")
    from ropediag.analysis.kind import check_capture
    from ropediag.plots.writing import check_figure_path, write_figure
    from ropediag.store import open_capture

    check_figure_path(out)
    place = {"layer": layer, "query_head": query_head}
    chosen = {axis: value for axis, value in place.items() if value is not None}
    with open_capture(capture) as opened:
        check_capture(opened)
        figure = _draw(opened, name, variable, chosen)
    write_figure(figure, out)
    typer.echo(f"wrote {out}")


def _draw(capture: "Capture", name: str, variable: str | None, chosen: dict[str, int]) -> "go.Figure":
    """Draw the breakdown as the figure of its own that it has, any other diagnostic as a curve or a map."""
    from ropediag.analysis.diagnostic import list_diagnostics
    from ropediag.plots.breakdown import plot_breakdown
    from ropediag.plots.diagnostic import plot_diagnostic

    diagnostic = list_diagnostics()[name]
    if name == "breakdown" and variable is None:
        return plot_breakdown(diagnostic(capture, **chosen))
    measured = diagnostic(capture).load()
    shown = variable or measured.attrs["shows"]
    if shown not in measured:
        _refuse(f"{name} has no variable {shown!r}: it has", measured)
    found = _select(measured[[shown]], shown, chosen)
    if not found[shown].ndim:
        _refuse(
            f"{shown} is a single number here, {found[shown].item():.6g}: of {name} draw one of", measured
        )
    critical = capture.critical_pair
    if "layer" not in measured[shown].dims:
        return plot_diagnostic(found, shown)
    return plot_diagnostic(found, shown, critical.sel(layer=found.layer))


def _select(measured: "xr.Dataset", variable: str, chosen: dict[str, int]) -> "xr.Dataset":
    from ropediag.errors import ConfigError

    for axis, value in chosen.items():
        if axis not in measured[variable].dims:
            axes = ", ".join(map(str, measured[variable].dims))
            raise ConfigError(f"{variable} has no axis {axis}, it is by {axes}. Leave out --{_flag(axis)}.")
        held = measured[axis].values.tolist()
        if value not in held:
            raise ConfigError(f"there is no {axis} {value}: the capture holds {held}.")
    if not chosen:
        return measured
    where = ", ".join(f"{axis.removeprefix('query_')} {value}" for axis, value in chosen.items())
    return measured.sel(chosen).assign_attrs(question=f"{measured.attrs['question']} ({where})")


def _flag(axis: str) -> str:
    return axis.replace("_", "-")


def _refuse(what: str, measured: "xr.Dataset") -> None:
    from ropediag.errors import ConfigError

    arrays = [str(name) for name, values in measured.data_vars.items() if values.ndim]
    raise ConfigError(f"{what} {', '.join(arrays)}.")

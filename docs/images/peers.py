"""Draw ``peers.svg`` from benchmarks/results/peers.json and print its table: ``python docs/images/peers.py``.

Needs kaleido and a Chromium.
"""

import json
import statistics
from pathlib import Path

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ropediag.plots.style import COLOURS, TEMPLATE

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "peers.json"
TABLED = ("2048", "8192", "16384", "65536")
PANELS = {"processor": "processor time (s)", "bytes": "extra memory at the peak (MiB)"}


def read(found: dict, way: str, figure: str) -> dict[int, float]:
    """Median of a figure by length."""
    scale = 2**-20 if figure == "bytes" else 1
    return {
        int(length): scale * statistics.median(run[figure] for run in runs)
        for length, runs in found["runs"][way].items()
    }


def draw(found: dict) -> go.Figure:
    colours = ("#7a7a7a", *COLOURS)
    figure = make_subplots(1, 2, subplot_titles=list(PANELS.values()), horizontal_spacing=0.1)
    for column, name in enumerate(PANELS, 1):
        for index, way in enumerate(found["runs"]):
            values = read(found, way, name)
            figure.add_scatter(
                x=list(values),
                y=list(values.values()),
                mode="lines+markers",
                line={"color": colours[index], "dash": "dot" if way == "plain" else "solid"},
                name=way,
                legendgroup=way,
                showlegend=column == 1,
                row=1,
                col=column,
            )
    ticks = [512, 2048, 8192, 32768]
    figure.update_xaxes(type="log", title_text="tokens", tickvals=ticks, ticktext=[f"{n:,}" for n in ticks])
    figure.update_yaxes(type="log", dtick=1)
    figure.update_yaxes(range=[0, 4.3], col=2)  # below a MiB there is nothing to see
    figure.update_layout(template=TEMPLATE, height=440, width=900, legend={"orientation": "h", "y": -0.28})
    return figure


def write_cell(found: dict, way: str, length: str) -> str:
    """Time and memory of one way at one length, or what it would have needed."""
    if length in found["needed"][way]:
        return f"would need {found['needed'][way][length] / 2**30:,.0f} GiB"
    seconds, size = (read(found, way, name)[int(length)] for name in PANELS)
    return f"{seconds:,.2f} s, {size:,.0f} MiB" if seconds < 10 else f"{seconds:,.0f} s, {size:,.0f} MiB"


def main() -> None:
    found = json.loads(RESULTS.read_text())
    draw(found).write_image(Path(__file__).with_suffix(".svg"))
    print("| | " + " | ".join(f"{int(length):,} tokens" for length in TABLED) + " |")
    print("|---|" + "---|" * len(TABLED))
    for way in found["runs"]:
        print(f"| {way} | " + " | ".join(write_cell(found, way, length) for length in TABLED) + " |")


if __name__ == "__main__":
    main()

"""Numbers in the README and on the pages are those of the committed results they name.

Pages that have a test of their own: scaling-law (study/test_shipped), trained-turn and choose-a-base (study),
models (models/test_matrix), science (test_docs).
"""

import csv
import json
import re
import sys
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from ropediag.assets import demo_model
from ropediag.store import open_study

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROSE = " ".join(README.split())
BENCHMARKS = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
ANALYSIS = (ROOT / "docs" / "analysis.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def peers():
    sys.path.insert(0, str(ROOT / "docs" / "images"))
    try:
        import peers as module  # the script that prints the README's table
    finally:
        sys.path.pop(0)
    return module, json.loads((RESULTS / "peers.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def causal():
    with (RESULTS / "causal_proof.csv").open(encoding="utf-8") as file:
        return {
            (row["pairs"], int(row["limit"]), float(row["multiple"])): row for row in csv.DictReader(file)
        }


def test_the_table_beside_other_tools_is_that_of_its_results(peers):
    module, found = peers
    for way in found["runs"]:
        cells = " | ".join(module.write_cell(found, way, length) for length in module.TABLED)
        assert f"| {way} | {cells} |" in README
    assert f"one thread, {found['date']}" in PROSE
    assert "`benchmarks/results/peers.json`" in README


def test_the_cost_of_a_capture_is_that_of_its_results(peers):
    module, found = peers
    time = {way: module.read(found, way, "processor") for way in ("plain", "ropediag")}
    ratio = time["ropediag"][65536] / time["plain"][65536]
    assert f"{ratio:.2f} times the processor time of a plain pass at 65,536 tokens" in PROSE
    assert f"A capture costs {time['ropediag'][512] - time['plain'][512]:.1f} s whatever the length" in PROSE


def test_the_factors_against_other_tools_are_those_of_their_results(peers):
    module, found = peers
    prose = " ".join(BENCHMARKS.split())
    figures = {
        (way, figure): module.read(found, way, figure) for way in found["runs"] for figure in module.PANELS
    }

    def factor(way, figure, length):
        return figures[way, figure][length] / figures["ropediag", figure][length]

    time, size = (
        [factor("TransformerLens", figure, length) for length in (8192, 16384)] for figure in module.PANELS
    )
    assert (
        f"{time[0]:.1f} times less processor time at 8,192 tokens and {time[1]:.1f} times less at 16,384, "
        f"and {size[0]:.1f} and {size[1]:.0f} times less extra memory" in prose
    )
    time, size = (
        [factor("TransformerLens in chunks", figure, length) for length in (8192, 16384)]
        for figure in module.PANELS
    )
    assert (
        f"{time[0]:.1f} and {time[1]:.1f} times less time, {size[0]:.1f} and {size[1]:.1f} times less memory"
        in prose
    )


def whole(text):
    """A percentage as the README rounds it."""
    return str(int(Decimal(text).quantize(Decimal(1), ROUND_HALF_UP)))


@pytest.mark.parametrize(
    ("row", "name", "limit"),
    [
        ("11 to 31, past the critical one", "past the critical pair (11-31)", 127),
        ("12 to 15", "12-15", 127),
        ("0 to 10, before it", "before it (0-10)", 127),
        ("16 to 31", "16-31", 127),
        ("11 to 31, clipped at 96 instead of 127", "past the critical pair (11-31)", 96),
    ],
)
def test_the_table_of_repairs_is_that_of_its_results(causal, row, name, limit):
    cells = []
    for multiple in (4.0, 8.0):
        found = causal[name, limit, multiple]
        value, low, high = (whole(found[end]) for end in ("value", "low", "high"))
        cells.append(f"{value} % ({low} to {high})")
    assert f"| {row} | {' | '.join(cells)} |" in README
    assert "`benchmarks/results/causal_proof.csv`" in README


def test_the_last_quarter_and_the_overlap_are_those_of_their_results(causal):
    rows = [causal["past the critical pair (11-31)", 127, multiple] for multiple in (4.0, 8.0)]
    ends = ("last quarter value", "last quarter low", "last quarter high")
    said = [[whole(row[end]) for end in ends] for row in rows]
    texts = [f"{value} % ({low} to {high})" for value, low, high in said]
    assert f"the first row is {texts[0]} and {texts[1]}" in PROSE
    assert float(rows[0]["overlap"]) == pytest.approx(2 / 3, abs=0.01)
    assert "which share two thirds of their pairs with 11 to 31" in PROSE


def test_the_table_of_the_detector_is_that_of_its_results():
    with (RESULTS / "drift_detector.csv").open(encoding="utf-8") as file:
        rows = {float(row["size"]): row for row in csv.DictReader(file)}
    quiet, planted = (int(rows[1.0][name]) for name in ("quiet_pairs", "planted_pairs"))
    assert f"0 false alarms in {quiet:,} pairs" in README
    assert f"{planted} planted and {quiet:,} other pairs" in ANALYSIS
    assert max(int(row["false_alarms"]) for row in rows.values()) == 0
    found = [f"{100 * float(rows[size]['recall']):.2g} %" for size in (0.3, 0.4, 0.5)]
    assert f"| found | {' | '.join(found)} | 100 % | 100 % | 100 % |" in ANALYSIS
    late = [size for size in rows if size >= 0.75]
    assert all(float(rows[size]["recall"]) == 1 for size in late)
    seen = [row for row in rows.values() if float(row["recall"]) > 0]
    assert all(float(row["onset_within_one_bin"]) == 1 for row in seen)


def test_the_range_of_limits_is_that_of_the_scaling_law():
    table = open_study(ROOT / "studies" / "results" / "scaling-law.h5")
    larger = table.isel(model=np.flatnonzero(table.tuned & (table.base > 10_000)))
    ratio = (larger.measured / larger.predicted).dropna("model")
    factor = float(larger.base.max() / larger.base.min())
    assert (
        f"limits {float(ratio.min()):.2f} to {float(ratio.max()):.2f} times the law's over a factor of "
        in README
    )
    assert f"over a factor of {factor:.0f} in the base" in PROSE


def test_the_errors_of_the_stretch_are_those_of_its_page():
    """The page's rows are compared with the tables by ``study/test_trained_turn_page``."""
    page = (ROOT / "docs" / "trained-turn.md").read_text(encoding="utf-8")

    def percents(law):
        rows = re.findall(rf"^\| {law} \|(?: *\|)? (0\.\d\d)", page, re.MULTILINE)
        return sorted({round(100 * float(row)) for row in rows})

    stretch, paper = percents("stretch of the onset"), percents("paper")
    assert f"erred by {stretch[0]} to {stretch[-1]} % in the median" in PROSE
    assert f"the paper's law erred by {paper[0]} to {paper[-1]} %" in PROSE
    bundled = re.search(r"median error 0\.(\d\d); the paper's law 0\.(\d\d)\)", " ".join(page.split()))
    error, law = (int(found) for found in bundled.groups())
    assert f"by {error} % where the law erred by {law} %" in PROSE


def test_the_size_of_the_bundled_model_is_that_of_its_weights():
    with safe_open(demo_model() / "model.safetensors", "np") as weights:
        count = sum(int(np.prod(weights.get_slice(name).get_shape())) for name in weights.keys())  # noqa: SIM118
    assert f"{count / 1e6:.2f} million parameters" in PROSE


def test_every_figure_of_the_captures_cost_names_a_file_that_exists():
    for name in re.findall(r"`((?:benchmarks|studies)/results/[^`*]+)`", README):
        assert (ROOT / name).is_file(), name

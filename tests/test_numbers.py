"""Numbers in the README and on the pages are those of the committed results they name.

Pages that have a test of their own: scaling-law (study/test_shipped), trained-turn and choose-a-base (study),
models (models/test_matrix), science (test_docs).
"""

import csv
import importlib
import json
import re
import statistics
import sys
from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from ropediag.assets import demo_model
from ropediag.store import open_study
from tests.reliability.__main__ import fill_page

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROSE = " ".join(README.split())
BENCHMARKS = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
ANALYSIS = (ROOT / "docs" / "analysis.md").read_text(encoding="utf-8")


def import_script(folder, name):
    """A module of a folder of scripts."""
    sys.path.insert(0, str(ROOT / folder))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.pop(0)


def read_results(name):
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


def read_section(title):
    """A section of benchmarks/README.md, its lines joined."""
    return " ".join(BENCHMARKS.split(f"\n## {title}\n")[1].split("\n## ")[0].split())


def said_row(*cells):
    """A row of a table as it is read in a section whose lines are joined."""
    return f"| {' | '.join(cells)} |"


def span(values, form):
    """The least and the most of some values, once if they are written alike."""
    return " to ".join(dict.fromkeys(form.format(value) for value in (min(values), max(values))))


def seconds(values):
    return span(values, "{:.2f}" if max(values) < 1 else "{:.1f}") + " s"


@pytest.fixture(scope="module")
def peers():
    return import_script("docs/images", "peers"), read_results("peers.json")


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
    runs = read_results("capture_overhead.json")["runs"]["65536"]
    pairs = zip(*([run["processor"] for run in runs[what]] for what in ("plain", "capture")), strict=True)
    other = statistics.median(capture / plain for plain, capture in pairs)
    assert f"{ratio:.2f} and {other:.2f} times the processor time of a plain pass at 65,536 tokens" in PROSE
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
    found.append(f"{100 * float(rows[0.75]['recall']):.3g} %")
    assert f"| found | {' | '.join(found)} | 100 % | 100 % |" in ANALYSIS
    late = [size for size in rows if size >= 1]
    assert all(float(rows[size]["recall"]) == 1 for size in late)
    assert f"0 of {int(rows[0.0]['quiet_pairs']):,} pairs of captures with nothing planted" in " ".join(
        ANALYSIS.split()
    )
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


def test_the_table_of_a_captures_cost_is_that_of_its_results(peers):
    found, section = read_results("capture_overhead.json"), read_section("Capture over plain forward")
    assert found["command"] in section
    for length, runs in found["runs"].items():
        times = {what: [run["processor"] for run in runs[what]] for what in ("plain", "capture")}
        ratios = [b / a for a, b in zip(*times.values(), strict=True)]
        each = ", ".join(f"{ratio:.3g}" for ratio in ratios)
        row = said_row(
            f"{int(length):,}",
            *(seconds(one) for one in times.values()),
            f"{statistics.median(ratios):.3g} ({each})",
            *(span([run["bytes"] / 2**20 for run in runs[what]], "{:.0f}") + " MiB" for what in times),
        )
        assert row in section
    short, long = found["runs"]["2048"], found["runs"]["65536"]
    plain, capture = (
        statistics.median(run["processor"] for run in short[what]) for what in ("plain", "capture")
    )
    assert f"takes {capture - plain:.1f} s more than the plain pass" in section
    share = long["windowed"][0]["processor"] / long["plain"][0]["processor"]
    assert f"another {share:.2f} of the plain pass at 65,536" in section
    plain, capture = (peers[0].read(peers[1], way, "processor")[65536] for way in ("plain", "ropediag"))
    assert f"load {found['load before']} before" in section
    assert f"the last ratio is {capture / plain:.2f}" in section


def test_the_table_of_what_is_announced_is_that_of_its_results():
    found, section = read_results("estimate_accuracy.json"), read_section("What a capture announces")
    assert found["command"] in section
    for length, figures in found["lengths"].items():
        ratios = [f"{announced / measured:.2f}" for announced, measured in figures.values()]
        assert said_row(f"{int(length):,}", *ratios) in section


def test_the_speed_of_tuning_is_that_of_its_results():
    found, section = read_results("tune_speed.json"), read_section("Tuning over a plain loop")
    assert found["command"] in section
    loop, tune = found["tokens a second"].values()
    ratios = [b / a for a, b in zip(loop, tune, strict=True)]
    each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    assert f"the loop's: {each} (median {statistics.median(ratios):.2f})" in section
    assert f"alone gave {span(loop, '{:,.0f}')} tokens a second" in section


def test_the_time_of_judging_is_that_of_its_results():
    found, section = read_results("analyze_speed.json"), read_section("Judging a large capture")
    assert found["command"] in section
    for sequences, one in found["sequences"].items():
        size = span([run["bytes"] / 2**30 for run in one["runs"]], "{:.2f}")
        row = said_row(
            sequences,
            f"{one['file bytes'] / 2**20:,.0f} MiB",
            seconds([run["processor"] for run in one["runs"]]),
            f"{size} GiB",
        )
        assert row in section


def test_the_table_of_the_dashboard_is_that_of_its_results():
    section = read_section("The dashboard")
    text = (RESULTS / "dashboard.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (.+?) \| (.+?) \|$", text, re.MULTILINE))
    assert re.search("`python .+?`", text)[0] in section

    def read_span(name):
        return seconds([float(end) for end in re.match(r"(.+) to (.+) s", rows[name]).groups()])

    def list_late(*names):
        return ", ".join(re.search(r"p95 (\d+) ms", rows[name])[1] for name in names) + " ms"

    measured = [
        read_span("first page cold: fresh server and profile, from the start of the command"),
        read_span("first page warm: reloaded"),
        list_late("another head (10)", "another layer (10)", "cell of the pair map (20)"),
        list_late("overview, by its link (10)", "cell of the drift map, to its pair (10)"),
        list_late("all clicks (60)"),
        f"{rows['first page, data'].split(',')[0]} at most",
        rows["memory of the server, 10 captures open"],
    ]
    assert re.findall(r"(?:\d s|ms|kB|GB) \| ([^|]+) \|", section) == measured
    assert f"The server answers {read_span('server answers')} after its start" in section


def test_the_figures_of_the_gpu_are_those_of_their_results():
    found, section = read_results("gpu.json"), read_section("On a GPU")
    assert found["command"] in section
    for name, what in {
        "7B shape": f"LLaMA-2-7B shape, {found['7B shape']['layers']} of its 32 layers",
        "bundled": "bundled model, 4 layers x 2 heads",
        "bundled, long": "the same",
        "million": "266 M parameters: 3 layers x 16 heads of 128 channels, 4 key heads",
    }.items():
        step = found[name]
        both = step["plain"], step["capture"]
        row = said_row(
            what,
            f"{step['tokens']:,}",
            *(seconds([run["seconds"] for run in runs]) for runs in both),
            ", ".join(f"{ratio:.3g}" for ratio in step["capture over plain"]),
            ", ".join(span([run["GiB"] for run in runs], "{:.1f}") for runs in both) + " GiB",
        )
        assert row in section
    assert f"{found['million']['parameters'] / 1e6:.0f} M parameters" in section
    seven, plain = (found["7B shape"][what][0] for what in ("capture", "plain"))
    layer = seven["statistics"] / found["7B shape"]["layers"]
    parts = {
        "the statistics take": f"{seven['statistics']:.1f} s ({layer:.2f} s a layer)",
        "merging the layers into the compressed file": f"{seven['merge the layers']:.1f} s on one core of "
        "the CPU",
        "writing them": f"{seven['write a layer']:.1f} s",
        "the pilot behind the announced seconds": f"{seven['estimate']:.1f} s",
        "the pass": f"{plain['seconds']:.1f} s",
    }
    sentence = ", ".join(f"{part} {took}" for part, took in parts.items())
    assert f"Of the {seven['seconds']:.1f} s there {sentence}." in section
    assert f"the statistics are {found['million']['capture'][0]['statistics']:.1f} s" in section
    pairs, array = 32 * 64, 32 * 64 * 65536 * 8  # of a layer; bytes of one array of float64
    sums, products = 2 * 3 * 10 * array, 136 * array
    assert f"{pairs:,} pairs" in section
    assert f"{10 * array / 1e9:.1f} GB" in section
    moved = [f"{size / 1e9:.0f} GB" for size in (sums, products)]
    took = [f"{1000 * size / 3.35e12:.0f} ms" for size in (sums, products)]
    assert f"{moved[0]} take {took[0]} at the 3.35 TB/s" in section
    assert f"another {moved[1]}, {took[1]}" in section
    assert 7.5 < layer / ((sums + products) / 3.35e12) < 8.5  # eight times as much


def test_the_loss_of_a_large_vocabulary_is_that_of_its_results():
    section = read_section("The loss of a large vocabulary")
    text = (RESULTS / "large_vocabulary.txt").read_text(encoding="utf-8")
    for what, name in (("whole", "one pass"), ("windows", "windows")):
        times, sizes = {}, {}
        for rows in ("few", "many"):
            runs = re.findall(rf"^{what} +{rows} +([\d.]+) s of.* (\d+) MiB$", text, re.MULTILINE)
            times[rows] = [float(run[0]) for run in runs]
            (sizes[rows],) = {run[1] for run in runs}
        less = statistics.median(a / b for a, b in zip(*times.values(), strict=True))
        said = (", ".join(f"{one:.1f}" for one in times[rows]) + " s" for rows in times)
        memory = f"{sizes['few']} MiB, now {sizes['many']} MiB"
        assert said_row(name, *said, f"{less:.1f} times less", memory) in section


def read_proof(name):
    """Rows of the causal proof; those compared with random sets of both kinds twice."""
    with (RESULTS / name).open(encoding="utf-8") as file:
        return {
            (row["pairs"], row["limit"], row["multiple"], row["random sets"]): row
            for row in csv.DictReader(file)
        }


def said_share(row, kind=""):
    return "{} ({} to {})".format(*(row[f"{kind}{end}"] for end in ("value", "low", "high")))


PROOF = "Causal proof on the bundled model"
PAST, BEFORE = "past the critical pair (11-31)", "before it (0-10)"


@pytest.mark.parametrize(
    ("name", "pairs", "sets"),
    [
        ("past the critical one, 11 to 31", PAST, "any"),
        ("before it, 0 to 10", BEFORE, "any"),
        ("all", "all", ""),
        ("12 to 15", "12-15", "any"),
        ("13 to 15", "13-15", ""),
        ("16 to 31", "16-31", ""),
    ],
)
def test_the_shares_repaired_are_those_of_their_results(name, pairs, sets):
    rows = read_proof("causal_proof.csv")
    chosen = (rows[pairs, limit, multiple, sets] for limit in ("127", "96") for multiple in ("4.0", "8.0"))
    assert said_row(name, *(f"{said_share(row)} [{row['last quarter value']}]" for row in chosen)) in (
        read_section(PROOF)
    )


@pytest.mark.parametrize(
    ("name", "pairs", "limit", "sets"),
    [
        ("11 to 31, at 127 | any 21 of 32 pairs", PAST, "127", "any"),
        ("11 to 31, at 96 | the same", PAST, "96", "any"),
        ("0 to 10, at 127 | 11 of the 21 other pairs", BEFORE, "127", "other"),
        ("12 to 15, at 127 | 4 of the 28 other pairs", "12-15", "127", "other"),
        ("12 to 15, at 96 | the same", "12-15", "96", "other"),
    ],
)
def test_the_shares_of_random_sets_are_those_of_their_results(name, pairs, limit, sets):
    rows = read_proof("causal_proof.csv")
    cells = []
    for multiple in ("4.0", "8.0"):
        row = rows[pairs, limit, multiple, sets]
        cells += [row["random mean"], said_share(row, "above random ")]
    assert said_row(name, *cells) in read_section(PROOF)


def test_damage_and_repairs_on_other_text_are_those_of_their_results():
    section, rows = read_section(PROOF), read_proof("causal_proof.csv")
    four, eight = (float(rows[PAST, "127", multiple, "any"]["nats of damage"]) for multiple in ("4.0", "8.0"))
    assert f"{four:.1f} nats a token at 4 x and {eight:.1f} at 8 x" in section
    other = read_proof("causal_proof_other_text.csv")
    for pairs, name in (("pairs 11 to 31 repair", PAST), ("pairs 0 to 10", BEFORE)):
        four, eight = (said_share(other[name, "127", multiple, "any"]) for multiple in ("4.0", "8.0"))
        assert f"{pairs} {four} at 4 x and {eight} at 8 x" in section


TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def tutorial():
    return import_script("benchmarks", "tutorial"), read_results("tutorial.json")


def list_commands(found, page):
    return found["pages"][page]["commands"]


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md"])
def test_every_command_of_a_page_was_run_or_left_out_for_a_reason(tutorial, page):
    module, found = tutorial
    commands = module.read_commands(page)
    ran = [one for one in commands if module.why_left_out(one) is None]
    assert list(list_commands(found, page)) == ran
    assert found["pages"][page]["left out"] == {
        one: module.why_left_out(one) for one in commands if one not in ran
    }


@pytest.mark.parametrize(
    ("command", "first"),
    [
        ("ropediag demo", "demo: 4 layers"),
        ("ropediag analyze captures/my-demo-8192.h5", "geometry: Training was 128"),
        ("ropediag predict --base 1e6 ", "source "),
        ("ropediag attribute --model demo", "Of 2"),
    ],
)
def test_what_the_readme_shows_was_printed(tutorial, command, first):
    (printed,) = [
        one["prints"]
        for line, one in list_commands(tutorial[1], "README.md").items()
        if line.startswith(command) and "--json" not in line
    ]
    shown = re.search(rf"```text\n({first}.*?)```", README, re.DOTALL)[1].splitlines()
    lines = [line for line in shown if line.strip() != "..."]
    assert set(lines) <= set(printed)


def is_near(said, measured):
    """Within a factor of two."""
    return measured / 2 <= float(said) <= 2 * measured


def test_times_of_the_pages_are_within_a_factor_of_two_of_those_measured(tutorial):
    found = tutorial[1]
    walk = {line: one["processor"] for line, one in list_commands(found, "docs/tutorial.md").items()}
    prose = " ".join(TUTORIAL.split())
    said = re.search(r"It takes (\d+) s, the second one (\d+) s\.", prose).groups()
    ablations = [time for line, time in walk.items() if line.startswith("ropediag ablate")]
    assert all(is_near(*each) for each in zip(said, ablations, strict=True))
    (attribute,) = re.findall(r"takes (\d+) s and splits", prose)
    assert is_near(attribute, next(time for line, time in walk.items() if "attribute" in line))
    (tune,) = re.findall(r"The tuning takes (\d+) s,", prose)
    assert is_near(tune, next(time for line, time in walk.items() if line.startswith("ropediag tune")))
    (demo,) = re.findall(r"which takes (\d+) s,", prose)
    assert is_near(demo, walk["ropediag demo"])
    whole = re.findall(r"commands take (\d+) s together", prose + PROSE)
    assert len(whole) == 2
    assert all(is_near(said, sum(walk.values())) for said in whole)
    assert "benchmarks/results/tutorial.json" in TUTORIAL
    assert found["machine"].startswith("1 of") == ("one thread" in prose)
    assert found["bfloat16"].startswith("computed") == ("with bfloat16 instructions" in prose)
    assert found["date"] in prose


def test_the_limits_of_the_tutorial_are_those_printed(tutorial):
    walk = list_commands(tutorial[1], "docs/tutorial.md")
    said = re.search(
        r"predicts a limit of (\d+) tokens, the untuned capture (\d+), and (\d+) is measured",
        " ".join(TUTORIAL.split()),
    )
    theory, untuned, measured = said.groups()
    compare, stretch = (
        "\n".join(next(one["prints"] for line, one in walk.items() if line.startswith(f"ropediag {name} ")))
        for name in ("compare", "stretch")
    )
    headline = f"limit 140 -> {measured} (law 128 -> {theory})"
    assert headline in compare
    assert headline in PROSE
    assert re.search(rf"\b{untuned}\b", stretch)


def test_every_figure_of_the_captures_cost_names_a_file_that_exists():
    for name in re.findall(r"`((?:benchmarks|studies)/results/[^`*]+)`", README):
        assert (ROOT / name).is_file(), name


def test_the_page_of_reliability_is_written_from_a_tally():
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    tally = [
        {"about": {"command": "make reliability", "date": "2030-01-02", "machine": "2 cores"}},
        {"what": "captures, killed", "tried": 1200, "lost": ["a"]},
        {"measured": "answers: 12"},
        {"seconds": 125},
    ]
    written = fill_page(page, tally)
    assert "`make reliability`, 2030-01-02, 2 cores, 2 min 5 s." in written
    assert "| captures, killed | 1,200 | 1,199 | 1 |" in written
    assert "- answers: 12" in written
    assert "ropediag capture on a full disk" not in written
    assert fill_page(written, tally) == written


def read_limits():
    with (RESULTS / "published_limits.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_published_limits_are_what_their_script_finds_and_their_page_says():
    limits, rows = import_script("benchmarks", "published_limits"), read_limits()
    assert [{field: str(value) for field, value in row.items()} for row in limits.measure()] == rows
    page = (ROOT / "docs" / "trained-reach.md").read_text(encoding="utf-8")
    section = " ".join(page.split("\n## Published limits\n")[1].split())
    assert section.count("| ") > 5 * len(rows)
    for row in rows:
        numbers = [f"{int(row[name]):,}" for name in ("predicted_limit", "first_reach")]
        stretch = f"{int(row['bin_start']):,} to {int(row['bin_stop']):,}"
        assert said_row(row["model"], row["training"], *numbers, stretch) in section
    scaled = [row for row in rows if "under yarn" in row["training"]]
    beyond = [100 * (int(row[edge]) / int(row["first_reach"]) - 1) for row in scaled
              for edge in ("bin_start", "bin_stop")]  # fmt: skip
    assert f"{min(beyond):.0f} to {max(beyond):.0f} % beyond" in section
    apart = ("under yarn", "window 4,096", "base 1,000,000")
    for row in (row for row in rows if not any(words in row["training"] for words in apart)):
        width = int(row["bin_stop"]) - int(row["bin_start"])
        assert 0 <= int(row["bin_start"]) - int(row["first_reach"]) <= 2 * width
    for row in rows:
        if "Code" in row["model"]:
            assert 112_166 < int(row["bin_start"]) < int(row["bin_stop"]) < 120_534


def test_the_first_reach_under_a_rule_is_the_one_of_pretraining_alone():
    limits = import_script("benchmarks", "published_limits")
    scaled = [case for case in limits.CASES if case.rule]
    assert len(scaled) == 5
    curves = limits.read_curves()
    for case in scaled:
        alone = limits.judge(replace(case, phases=case.phases[:1]), curves)
        assert alone["first_reach"] == limits.judge(case, curves)["first_reach"]


def test_an_excess_that_stays_is_told_from_one_that_returns():
    limits = import_script("benchmarks", "published_limits")
    reference = {(start, start + 10): 1.0 for start in range(0, 80, 10)}

    def read(*excess):
        return {part: 3.0 + more for part, more in zip(reference, excess, strict=True)}

    assert limits.find_limit(read(0, 0, 0, 0.9, 0, 0.31, 0.5, 1), reference, 30) == (50, 60)
    assert limits.find_limit(read(0, 0, 0, 0.9, 0, 0.29, 0.5, 0.2), reference, 30) is None


def test_published_perplexity_becomes_the_loss_of_each_bin(tmp_path):
    limits = import_script("benchmarks", "published_limits")
    losses = [2.0, 1.5, 4.0]
    lines = ["model,tokens,perplexity"]
    for bins in (1, 2, 3):
        lines.append(f"a,{10 * bins},{float(np.exp(np.mean(losses[:bins])))}")
    path = tmp_path / "data.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    curve = limits.read_curves(path)["a"]
    assert curve == pytest.approx({(0, 10): 2.0, (10, 20): 1.5, (20, 30): 4.0})

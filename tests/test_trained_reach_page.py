"""Numbers of docs/trained-reach.md and docs/what-drift-can-say.md are those of the committed results."""

import csv
from pathlib import Path

import pytest

from ropediag.analysis.laws import SWING_LAWS, compare_laws, list_models
from ropediag.store import open_study

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
REACH = (ROOT / "docs" / "trained-reach.md").read_text(encoding="utf-8")
DRIFT = (ROOT / "docs" / "what-drift-can-say.md").read_text(encoding="utf-8")
ANALYSIS = " ".join((ROOT / "docs" / "analysis.md").read_text(encoding="utf-8").split())
NAMES = {
    "demo": "untuned",
    "yarn4": "under YaRN 4, untrained",
    "b160000": "tuned to base 160,000",
    "b16000000": "tuned to base 16,000,000",
}
PLACEBOS = ("own", "permuted 1", "permuted 2", "permuted 3", "common")
AT = (0.7, 0.85, 1.0, 1.1, 1.2, 1.4)


def read_rows(name):
    with (RESULTS / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def percent(value, low=None, high=None):
    shown = [f"{100 * float(each):.1f}" for each in (value, low, high) if each is not None]
    return shown[0] if len(shown) == 1 else f"{shown[0]} ({shown[1]} to {shown[2]})"


def whole_curves(rows):
    """Limits at each pair's own reach, counted up to the last position."""
    return [row for row in rows if row["limits"] == "own" and row["until"] == row["length"]]


def write_placebos(rows):
    """The lines of the table of other limits at the usual multiple of the reach."""
    usual = {"fold": "1.0", "clip": "0.85"}
    found = {}
    for row in rows:
        if row["until"] == row["length"] and row["at"] == usual[row["kind"]]:
            found.setdefault((row["model"], row["kind"]), {})[row["limits"]] = percent(row["repaired"])
    return [
        f"| {NAMES[model]} | {kind} | {' | '.join(own[name] for name in PLACEBOS)} |"
        for (model, kind), own in found.items()
        if len(own) > 1
    ]


def write_curves(rows):
    """The lines of the table of repair curves, over all positions."""
    curves = {}
    for row in whole_curves(rows):
        curves.setdefault((row["model"], row["kind"]), {})[float(row["at"])] = row
    lines = []
    for (model, kind), by_at in curves.items():
        one = next(iter(by_at.values()))
        ends = [round(float(one[f"{end}_reach"])) for end in ("smallest", "largest")]
        reach = " to ".join(dict.fromkeys(f"{end:,}" for end in ends))
        cells = [percent(by_at[at]["repaired"], by_at[at]["low"], by_at[at]["high"]) for at in AT]
        lines.append(f"| {NAMES[model]} | {reach} | {kind} | {' | '.join(cells)} |")
    return lines


def write_histories(rows):
    """The lines of the table of two models with the same rotation."""
    lines = []
    for row in rows:
        clips = [
            percent(*(row[f"clip at reaches {whose}, {end}"] for end in ("value", "low", "high")))
            for whose in ("from scratch", "tuned")
        ]
        limit = f"{int(row['limit']):,} ({int(row['limit_low']):,} to {int(row['limit_high']):,})"
        lines.append(f"| {row['model']} | {int(row['first_reach']):,} | {limit} | {' | '.join(clips)} |")
    return lines


def write_cuts(rows, figure, form):
    """The lines of a table over the cuts, a model each."""
    by_model = {}
    for row in rows:
        by_model.setdefault(row["model"], []).append(form(row[figure]))
    return [f"| {NAMES[model]} | {' | '.join(cells)} |" for model, cells in by_model.items()]


def write_strays(rows):
    """The lines of the table of ranges at seen lags."""
    whole = [row for row in rows if row["strays"]]
    return [
        f"| {NAMES[row['model']]} | {percent(row['strays'])} % | {percent(row['strays 4'])} % | "
        f"{percent(row['strays files'])} % |"
        for row in whole
    ]


def write_law(row):
    """A line of the tables of laws."""
    value, low, high = (f"{float(row[f'median{end}']):.2f}" for end in ("", "_low", "_high"))
    figures = (f"{float(row[name]):.2f}" for name in ("high", "ratio"))
    return (
        f"| {row.law.item()} | {float(row['mean']):.2f} | {value} ({low} to {high}) | {' | '.join(figures)} |"
    )


def compare(rules):
    """The laws of the page, judged on other parents than they were fitted on."""
    table, swings = (
        open_study(ROOT / "studies" / "results" / f"{name}.h5") for name in ("coverage", "rules")
    )
    models = list_models(swings, untrained=True) if rules else list_models(table, swings=swings)
    return compare_laws(models, "parent", rules)


def share(value):
    return f"{100 * float(value):.0f} %"


def ratio(value):
    return f"{float(value):.2f}" if value else "none"


@pytest.mark.parametrize("line", write_curves(read_rows("reach_curve.csv")))
def test_the_repair_curves_are_those_of_the_results(line):
    assert line in REACH


@pytest.mark.parametrize("line", write_placebos(read_rows("reach_curve.csv")))
def test_the_placebos_are_those_of_the_results(line):
    assert line in REACH


def test_all_curves_fall_at_the_reach():
    """What the page says of them: as high at the reach as far below it, gone 40 % past it."""
    rows = whole_curves(read_rows("reach_curve.csv"))
    share = {(row["model"], row["kind"], float(row["at"])): float(row["repaired"]) for row in rows}
    for model in NAMES:
        assert share[model, "fold", 1.0] >= (0.85 if model == "b16000000" else 0.9)
        assert share[model, "fold", 1.0] >= 0.95 * share[model, "fold", 0.7]
        assert share[model, "clip", 0.85] >= 0.8
        assert share[model, "fold", 1.4] <= 0.25
        assert share[model, "clip", 1.2] <= 0.25
    at_reach = {model: 100 * share[model, "clip", 1.0] for model in NAMES}
    last = at_reach.pop("b16000000")
    said = f"it repairs {last:.0f} % at the reach, and {min(at_reach.values()):.0f} to "
    assert said + f"{max(at_reach.values()):.0f} % in the others" in " ".join(REACH.split())


@pytest.mark.parametrize("rules", [False, True])
def test_the_page_states_how_each_law_did(rules):
    found = compare(rules)
    what = "under rules" if rules else "tuned models"
    assert f"fitted on {found.attrs['fitted']} {what}, judged on {found.attrs['judged']}" in " ".join(
        REACH.split()
    )
    for law in found.law.values:
        assert write_law(found.sel(law=law)) in REACH


def test_parents_that_were_trained_again_break_where_the_first_ones_did():
    first, again = (open_study(ROOT / "studies" / "results" / f"{name}.h5") for name in ("coverage", "rules"))
    names = [name for name in again.model.values if name in first.model.values]
    ratio = again.measured.sel(model=names) / first.measured.sel(model=names)
    worst, middle = (f"{100 * float(each):.0f} %" for each in (abs(ratio - 1).max(), abs(ratio - 1).median()))
    assert f"whose own limits lie within {worst} of the first ones, {middle} in the median" in " ".join(
        REACH.split()
    )


def test_permuted_reaches_do_worse_by_a_factor_of_two():
    found = compare(rules=False)["mean"]
    right, dealt = (float(found.sel(law=law)) for law in list(SWING_LAWS)[:2])
    assert right <= 0.15
    assert dealt >= 2 * right


@pytest.mark.parametrize("line", write_histories(read_rows("same_rotation.csv")))
def test_the_two_histories_are_those_of_the_results(line):
    assert line in REACH


def test_the_other_history_breaks_at_less_than_half_and_is_not_repaired_by_the_longer_reaches():
    scratch, tuned = read_rows("same_rotation.csv")
    assert float(tuned["limit"]) > 2 * float(scratch["limit"])
    assert float(scratch["clip at reaches tuned, value"]) < 0.1


@pytest.mark.parametrize(
    "line",
    [
        *write_cuts(read_rows("placebo.csv"), "left", share),
        *write_cuts(read_rows("placebo.csv"), "onset", ratio),
        *write_strays(read_rows("placebo.csv")),
    ],
)
def test_what_drift_can_say_is_what_was_measured(line):
    assert line in DRIFT


def test_ranges_hold_at_seen_lags():
    for row in read_rows("placebo.csv"):
        if row["strays"]:
            assert max(float(row[name]) for name in ("strays", "strays 4", "strays files")) <= 0.02


def test_planted_drift_in_scaled_and_tuned_captures_is_that_of_the_results():
    rows = read_rows("drift_detector_tuned.csv")
    for model, words in (("yarn4", "under YaRN 4"), ("b160000", "tuned to base 160,000")):
        own = {float(row["size"]): row for row in rows if row["model"] == model}
        alarms, quiet = sum(int(row["false_alarms"]) for row in own.values()), int(own[0.0]["quiet_pairs"])
        found = ", ".join(f"{100 * float(own[size]['recall']):.1f} %" for size in (0.5, 0.75, 1.0, 2.0))
        assert (
            f"{words}: {alarms} false alarms, {quiet:,} quiet pairs with nothing planted, found {found}"
            in ANALYSIS
        )

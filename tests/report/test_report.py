"""The report: one small file with the numbers of the analysis, safe to open whoever made the capture."""

import base64
import gzip
import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from ropediag import open_capture
from ropediag.analysis.diagnostic import list_diagnostics
from ropediag.analysis.drift import measure_drift
from ropediag.analysis.law import word_law
from ropediag.analysis.verdict import judge_capture
from ropediag.errors import CaptureError, ConfigError, FormatError
from ropediag.report import document, write_report
from ropediag.report.figures import KEPT_BITS, _round
from ropediag.store import open_study, write_whole
from tests.analysis.captures import EXAMPLE
from tests.analysis.ragged import write_ragged
from tests.cli.command_line import run
from tests.store.synthetic import make_attributes

STUDY = EXAMPLE.with_name("example-study-scaling-law.h5")
ABLATIONS = sorted(EXAMPLE.parent.glob("example-ablation-*.h5"))
HOSTILE = (
    "</title></script>\"'><script>window.hit = 1</script><img src=x onerror='window.hit = 2'>{{ 7 * 7 }}"
)


class Page(HTMLParser):
    """The text of a page outside scripts and styles, and every address that it names."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.text, self.addresses, self.scripts, self._open = "", [], 0, ""
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self._open = tag
        self.scripts += tag == "script"
        self.addresses += [
            value for name, value in attrs if name in ("src", "href", "action", "data", "srcset")
        ]
        assert not [name for name, _ in attrs if name.startswith("on")]

    def handle_endtag(self, tag):
        self._open = ""

    def handle_data(self, data):
        if self._open not in ("script", "style"):
            self.text += data


def read_figures(source: str) -> dict:
    packed = re.search(r'id="figures">([^<]+)<', source).group(1)
    return dict(json.loads(gzip.decompress(base64.b64decode(packed))))


def decode(array) -> np.ndarray:
    values = np.frombuffer(base64.b64decode(array["bdata"]), array["dtype"])
    return values.reshape([int(size) for size in array["shape"].split(",")])


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    return write_report([EXAMPLE, *ABLATIONS], tmp_path_factory.mktemp("report") / "report.html")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> Path:
    """The report of an unfinished capture whose maker wrote markup wherever the format takes text."""
    folder = tmp_path_factory.mktemp("hostile")
    named = dict.fromkeys(("architecture", "text_hash", "created", "device", "dtype"), HOSTILE)
    config = json.dumps({"model": HOSTILE, "length": 32})
    path = write_ragged(folder / "run.h5", model=HOSTILE, config=config, **named)
    return write_report([path], folder / "report.html")


def test_it_is_one_small_file_that_names_no_other(report):
    source = report.read_text()
    assert len(report.read_bytes()) < 5_000_000
    page = Page(source)
    assert page.addresses
    assert all(address.startswith("#") for address in page.addresses)
    assert "url(" not in source
    assert "@import" not in source


def test_without_javascript_it_says_verdict_questions_worst_pairs_and_weaknesses(report):
    text = Page(report.read_text()).text
    with open_capture(EXAMPLE) as capture:
        verdict = judge_capture(capture)
    assert all(sentence["text"] in text for sentence in verdict.sentences)
    assert all(sentence in text for sentence in verdict.weak)
    for worst in verdict.offenders:
        assert f"{worst['drift']:.2f}" in text
    for about in list_diagnostics().values():
        for words in (about.question, about.high, about.interval, about.source):
            assert words in text, about.name
    assert "ropediag capture --model demo --len 8192 --sequences 8" in text
    assert "ropediag ablate --model demo --len 1024" in text
    assert "lag clipped at 127" in text


def test_every_diagnostic_and_ablation_has_its_figure(report):
    figures = read_figures(report.read_text())
    assert {f"capture-0-{name}" for name in list_diagnostics()} <= set(figures)
    assert {"causes", "causes-reach", *(f"causes-{index}" for index in range(len(ABLATIONS)))} <= set(figures)


def test_without_a_curve_over_the_reach_there_is_no_figure_of_it(tmp_path):
    path = write_report([ABLATIONS[0]], tmp_path / "one.html")
    assert "causes-reach" not in read_figures(path.read_text())


def test_the_figures_hold_the_numbers_of_the_analysis(report):
    drawn = decode(read_figures(report.read_text())["capture-0-drift"]["data"][0]["z"])
    with open_capture(EXAMPLE) as capture:
        drift = measure_drift(capture).drift.values
    np.testing.assert_allclose(drawn, drift.reshape(8, 32).T, rtol=2.0**-KEPT_BITS, atol=1e-12)


@pytest.fixture(scope="module")
def together(tmp_path_factory) -> Path:
    """The report of two captures and a study."""
    files = [EXAMPLE, EXAMPLE.with_name("example-tuned-b160000-8192.h5"), STUDY]
    return write_report(files, tmp_path_factory.mktemp("together") / "report.html")


def test_captures_stand_side_by_side_and_a_study_with_all_its_models(together):
    source = together.read_text()
    text, figures = Page(source).text, read_figures(source)
    named = {"together-excess", "together-drift", "together-limits", "study-0-law", "study-0-reach"}
    assert named <= set(figures)
    with open_capture(EXAMPLE) as capture:
        verdict = judge_capture(capture)
    low, high = verdict.measured_limit_low, verdict.measured_limit_high
    assert f"{verdict.measured_limit:,.0f} ({low:,.0f} to {high:,.0f})" in text
    table = open_study(STUDY)
    assert word_law(table) in text
    for name in table.model.values:
        row = table.sel(model=name)
        assert f"{name}" in text
        assert np.isnan(row.measured) or f"{float(row.measured):,.0f} (" in text


def test_a_study_alone_has_a_report(tmp_path):
    page = Page(write_report([STUDY], tmp_path / "report.html").read_text())
    assert "76 models" in page.text


@pytest.mark.parametrize("law", ["[]", "{}", "no json", json.dumps({"slope": "<b>"})])
def test_a_study_whose_law_is_no_fit_is_refused(tmp_path, law):
    flags = {name: table[name].astype("i1") for table in [open_study(STUDY)] for name in table
             if table[name].dtype == bool}  # fmt: skip
    open_study(STUDY).assign(flags).assign_attrs(law=law).to_netcdf(tmp_path / "t.h5", engine="h5netcdf")
    with pytest.raises(FormatError, match="records is no fit"):
        write_report([tmp_path / "t.h5"], tmp_path / "report.html")


def test_rounding_keeps_the_leading_bits_and_what_is_no_number():
    values = (10.0 ** np.random.default_rng(0).uniform(-30, 30, 10_000)).astype(np.float32)
    values[::2] *= -1
    values[:4] = np.nan, np.inf, -np.inf, 0.0
    rounded = _round(values)
    with np.errstate(invalid="ignore"):
        mantissa, exponent = np.frexp(values.astype(float))
        expected = np.ldexp(np.floor(np.abs(mantissa) * 2**KEPT_BITS + 0.5) / 2**KEPT_BITS, exponent)
    np.testing.assert_array_equal(np.abs(rounded)[4:], expected[4:].astype(np.float32))
    np.testing.assert_array_equal(rounded[:4], values[:4])
    np.testing.assert_array_equal(np.signbit(rounded[1:]), np.signbit(values[1:]))


def test_markup_in_a_capture_stays_text(hostile, report):
    source = hostile.read_text()
    page = Page(source)
    assert page.scripts == Page(report.read_text()).scripts == 4
    assert HOSTILE in page.text
    assert html.escape(HOSTILE).replace("&#x27;", "&#39;").replace("&quot;", "&#34;") in source
    figures = json.dumps(read_figures(source))
    assert "<script" not in figures
    assert "<img" not in figures


def test_an_unfinished_capture_says_what_it_lacks(hostile):
    text = Page(hostile.read_text()).text
    assert "the capture is not finished" in text


def test_a_report_that_is_too_large_leaves_out_the_largest_figure_and_says_so(tmp_path, monkeypatch):
    capture = write_ragged(tmp_path / "run.h5")
    path = write_report([capture], tmp_path / "all.html")
    figures = read_figures(path.read_text())
    monkeypatch.setattr(document, "LARGEST", path.stat().st_size - 1)
    less = write_report([capture], tmp_path / "less.html").read_text()
    assert len(less.encode()) < path.stat().st_size
    (gone,) = set(figures) - set(read_figures(less))
    others = [name for name in figures if not name.endswith(("-drift", "-breakdown"))]
    assert gone == max(others, key=lambda name: len(json.dumps(figures[name])))
    assert "was left out to keep this file small" in less
    monkeypatch.setattr(document, "LARGEST", 1000)
    with pytest.raises(ConfigError, match="too large for one file"):
        write_report([capture], tmp_path / "none.html")


def test_what_cannot_be_reported_is_refused(tmp_path):
    evaluation = write_whole(
        tmp_path / "evaluation.h5",
        {"sequence": np.arange(1), "position": np.arange(3)},
        {"loss/nll": np.ones((1, 3), "f4")},
        make_attributes(kind="evaluation"),
    )
    (tmp_path / "there.html").write_text("mine")
    for files, out, error, said in (
        ([], "a.html", ConfigError, "needs at least one"),
        ([EXAMPLE], "a.txt", ConfigError, r"must be named \*.html"),
        ([EXAMPLE], "there.html", CaptureError, "there.html exists"),
        ([tmp_path / "gone.h5"], "a.html", FormatError, "no such file|gone"),
        ([evaluation], "a.html", ConfigError, "holds an evaluation, and what is needed is a capture"),
    ):
        with pytest.raises(error, match=said):
            write_report(files, tmp_path / out)
    assert (tmp_path / "there.html").read_text() == "mine"
    assert not (tmp_path / "a.html").exists()


def test_a_file_that_is_named_twice_counts_once(tmp_path):
    twice = (ABLATIONS[0], ABLATIONS[0].parent / "." / ABLATIONS[0].name)
    once = write_report([ABLATIONS[0]], tmp_path / "once.html").read_text()
    shown = write_report(twice, tmp_path / "twice.html").read_text()
    assert shown.replace("twice.html", "once.html") == once


def test_a_folder_that_cannot_be_written_to_is_named_before_the_work(monkeypatch):
    monkeypatch.setattr("ropediag.report.document.describe_causes", None)  # never called
    with pytest.raises(CaptureError, match="cannot write /proc/a"):
        write_report([ABLATIONS[0]], "/proc/a.html")


def test_the_command_writes_it_and_names_its_size(tmp_path, monkeypatch, capsys):
    done = run(monkeypatch, capsys, "report", ABLATIONS[0], "--out", tmp_path / "a.html")
    assert done.status == 0, done.err
    assert re.search(r"wrote .*a\.html, \d\.\d MB", done.out)
    again = run(monkeypatch, capsys, "report", ABLATIONS[0], "--out", tmp_path / "a.html")
    assert again.status == 2
    assert "--force" in again.err


def open_page(browser, path, **options):
    """A tab that has drawn everything, and what it complained of."""
    tab, complaints = browser.new_context(**options).new_page(), []
    tab.on(
        "console", lambda message: message.type in ("error", "warning") and complaints.append(message.text)
    )
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("request", lambda request: complaints.append(request.url) if request.url[:4] == "http" else None)
    tab.goto(path.as_uri())
    if options.get("java_script_enabled", True):
        tab.wait_for_selector("html[data-drawn]", state="attached")
    return tab, complaints


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_opens_offline_and_draws_all_figures_in_the_reader_s_colours(chromium, report, scheme):
    tab, complaints = open_page(chromium, report, color_scheme=scheme, offline=True)
    assert complaints == []
    figures = read_figures(report.read_text())
    assert tab.locator("html").get_attribute("data-drawn") == str(len(figures))
    for name in figures:
        assert tab.locator(f"#{name} .main-svg").count() > 0, name
    assert tab.locator(".without").count() == 0
    paper = tab.evaluate("document.getElementById('causes')._fullLayout.paper_bgcolor")
    assert paper == {"light": "#ffffff", "dark": "#242424"}[scheme]
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert tab.locator('[data-title*="loud"], [data-title*="Chart Studio"]').count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_has_no_serious_accessibility_violation(chromium, report, scheme):
    from axe_playwright_python.sync_playwright import Axe

    tab, _ = open_page(chromium, report, color_scheme=scheme, bypass_csp=True)
    found = Axe().run(tab).response["violations"]
    assert not [
        (one["id"], [node["html"] for node in one["nodes"]][:3])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


def test_a_hostile_capture_runs_nothing(chromium, hostile):
    tab, complaints = open_page(chromium, hostile, offline=True)
    assert complaints == []
    assert tab.evaluate("window.hit") is None
    assert HOSTILE in tab.locator("h1").first.text_content()
    assert tab.evaluate("document.querySelectorAll('img').length") == 0


def test_without_javascript_the_text_stands_in_place_of_the_figures(chromium, report):
    tab, _ = open_page(chromium, report, java_script_enabled=False)
    assert tab.get_by_text("The figure needs JavaScript.").first.is_visible()
    assert tab.get_by_text("Largest: ").first.is_visible()

"""The attribution next to a capture leads its verdict, the report and the page of costs."""

import shutil

import numpy as np
import pytest

from ropediag import open_capture
from ropediag.analysis.attribution import (
    attribution_path,
    find_attribution,
    measure_attribution,
    word_attribution,
)
from ropediag.analysis.head_table import measure_head_table
from ropediag.analysis.verdict import judge_capture
from ropediag.attribution import AttributeConfig, attribute_checkpoint
from ropediag.report import write_report
from tests.analysis.captures import EXAMPLE
from tests.cli.command_line import run
from tests.plots.test_attribution import make_table


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A capture of the bundled model with an attribution next to it."""
    path = tmp_path_factory.mktemp("cost")
    capture = path / "demo.h5"
    shutil.copy(EXAMPLE, capture)
    shutil.copy(EXAMPLE, path / "alone.h5")
    config = AttributeConfig("demo", 160, sequences=1, points=5, out=attribution_path(capture))
    attribute_checkpoint(config)
    return path


def test_the_name_is_that_of_the_capture(tmp_path):
    for name in ("a-8192.h5", "a-8192.h5.partial"):
        assert attribution_path(tmp_path / name) == tmp_path / "a-8192-attribution.h5"


def test_the_cost_leads_the_verdict(folder):
    with open_capture(folder / "demo.h5") as capture, open_capture(folder / "demo-attribution.h5") as file:
        verdict, table = judge_capture(capture), measure_attribution(file)
    assert [sentence["kind"] for sentence in verdict.sentences][:3] == ["cause", "cause", "geometry"]
    assert [sentence["text"] for sentence in verdict.sentences][:2] == word_attribution(table)
    assert verdict.cost["difference"]["nats"] == pytest.approx(float(table.difference))
    assert verdict.cost["top"][0]["layer"] == 1
    assert "cannot tell" not in " ".join(sentence["text"] for sentence in verdict.sentences)


def test_the_head_table_holds_the_costs(folder):
    with open_capture(folder / "demo.h5") as capture, open_capture(folder / "demo-attribution.h5") as file:
        heads, table = measure_head_table(capture), measure_attribution(file)
    np.testing.assert_allclose(heads.cost, table.by_head)
    layer, head = (int(place) for place in np.unravel_index(np.argmax(table.by_head.values), (4, 2)))
    worst = table.pair[int(table.cost[layer, head].argmax("pair"))]
    assert int(heads.cost_pair[layer, head]) == int(worst)
    with open_capture(folder / "alone.h5") as capture:
        assert measure_head_table(capture).cost.isnull().all()


def test_an_attribution_of_other_weights_is_left_out(folder, tmp_path):
    shutil.copy(EXAMPLE.with_name("example-tuned-b160000-8192.h5"), tmp_path / "x.h5")
    shutil.copy(folder / "demo-attribution.h5", tmp_path / "x-attribution.h5")
    with open_capture(tmp_path / "x.h5") as capture:
        verdict = judge_capture(capture)
        assert find_attribution(capture)[0] is None
    assert verdict.cost is None
    assert any("other weights" in sentence for sentence in verdict.weak)


def test_a_damaged_attribution_is_named_and_left_out(folder, tmp_path):
    shutil.copy(folder / "demo.h5", tmp_path / "x.h5")
    (tmp_path / "x-attribution.h5").write_bytes(b"nothing")
    with open_capture(tmp_path / "x.h5") as capture:
        verdict = judge_capture(capture)
    assert verdict.cost is None
    assert any("x-attribution.h5 cannot be used" in sentence for sentence in verdict.weak)


def test_the_sentence_names_sum_pair_head_and_rest():
    table = make_table(pairs=12)
    for name in ("difference", "difference_low"):
        table[name] = abs(table[name]) + 1
    said = word_attribution(table)
    pair = int(table.pair[int(table.by_pair.argmax("pair"))])
    assert f"{float(table.by_pair.max()):.2f} of them from pair {pair}" in said[0]
    assert f"the remaining {float(table.other):.2f}" in said[0]
    assert f"{max(abs(float(table.missed)) / float(table.difference), 0.001):.1%}" in said[1]
    assert "over 3 sequences" in said[1]


def test_the_report_holds_the_costs(folder, tmp_path):
    out = write_report([folder / "demo-attribution.h5"], tmp_path / "cost.html")
    text = out.read_text()
    assert "What unseen angles cost: demo-attribution.h5" in text
    assert "ropediag attribute --model demo --len 160 --kind clip --sequences 1" in text
    assert "cost-0-waterfall" in text


def test_a_capture_makes_its_attribution_too(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ("--model", "demo", "--len", 160, "--attribute", 150, "--out", "a.h5")
    found = run(monkeypatch, capsys, "capture", *words)
    assert found.status == 0, found.err
    assert "nats of excess loss from token 128 to 149" in " ".join(found.out.split())
    with open_capture("a.h5") as capture:
        assert judge_capture(capture).cost["stop"] == 150

"""A study's YAML: what it means, and a clear line for what it cannot mean."""

from pathlib import Path

import pytest

from ropediag.errors import ConfigError
from ropediag.study.cells import Cell, list_cells
from ropediag.study.config import read_study

STUDIES = Path(__file__).parents[2] / "studies"
SMALL = """
name: small
parents: [demo]
grid:
  - bases: [1e6, 20_000]
    lengths: [128, 512]
  - {bases: 1e6, lengths: 128}
"""


def read(tmp_path: Path, text: str):
    path = tmp_path / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return read_study(path)


def test_cells_are_the_parents_and_the_product_of_each_grid_none_twice(tmp_path):
    config = read(tmp_path, SMALL + "seeds: 2\n")
    tuned = [("demo", base, length) for length in (128, 512) for base in (1e6, 2e4)]
    assert list_cells(config) == [Cell("demo")] + [Cell(*cell, seed) for seed in (0, 1) for cell in tuned]


def test_names_of_cells_tell_them_apart():
    cells = [Cell("a/demo"), Cell("demo", 1e6, 128), Cell("demo", 1e6, 128, 1), Cell("demo", 690_000.5, 128)]
    assert [cell.name for cell in cells] == ["demo", "demo-b1000000-t128-s0", "demo-b1000000-t128-s1",
                                             "demo-b690000.5-t128-s0"]  # fmt: skip


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_shipped_studies_can_be_read(path):
    config = read_study(path)
    names = [cell.name for cell in list_cells(config)]
    assert config.name == path.stem
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must be a mapping"),
        ("a: [", "is not YAML"),
        ("name: small\nparents: [demo]\n", "lacks the key 'grid'"),
        (SMALL + "colour: red\n", "has no key 'colour'"),
        (SMALL + "tune: {stepz: 3}\n", "has no key 'stepz'"),
        (SMALL + "tune: {steps: many}\n", "wrong type"),
        (SMALL + "tune: {steps: 2.5}\n", "not a whole number"),
        (SMALL + "tune: {steps: 0}\n", "at least 1"),
        (SMALL + "evaluate: {sequences: 1}\n", "at least 2"),
        (SMALL + "evaluate: {reach: 1}\n", "reach above 1"),
        (SMALL + "seeds: 0\n", "seeds must be at least 1"),
        (SMALL.replace("1e6, 20_000", "1"), "above 1"),
        (SMALL.replace("128, 512", "1"), "at least 2"),
        (SMALL.replace("small", "Small Study"), "name"),
        (SMALL.replace("[demo]", "[]"), "must not be empty"),
    ],
)
def test_what_it_cannot_mean_is_refused(tmp_path, text, words):
    with pytest.raises(ConfigError, match=words):
        read(tmp_path, text)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="no-such"):
        read_study(tmp_path / "no-such.yaml")

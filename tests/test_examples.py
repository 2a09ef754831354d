"""The example captures: whole, of the present format, small, and described where they lie."""

import re
from pathlib import Path

import pytest

from captures.make_examples import EXAMPLES, STUDY
from ropediag.format_doc import describe_format
from ropediag.store import is_study, open_capture, summarize

FOLDER = Path(__file__).parents[1] / "captures"
FILES = sorted(
    path.name
    for path in FOLDER.glob("example-*.h5")
    if not is_study(path) and summarize(path).attributes["kind"] == "capture"
)


def test_the_page_lists_the_files_and_the_script_makes_all_of_them():
    listed = re.findall(r"^\| `(example-.*\.h5)` \|.* --len \d", describe_format(), re.MULTILINE)
    assert sorted(listed) == FILES
    assert sorted(EXAMPLES) == FILES


@pytest.mark.parametrize("name", FILES)
def test_an_example_is_complete_and_holds_what_its_row_says(name):
    (row,) = [line for line in describe_format().splitlines() if line.startswith(f"| `{name}`")]
    (length,) = re.search(r"--len (\d+)", row).groups()
    sequences = re.search(r"--sequences (\d+)|$", row).group(1) or 1
    with open_capture(FOLDER / name) as capture:
        assert capture.status == "complete"
        assert capture.sizes["sequence"] == int(sequences)
        assert capture.attrs["length"] == int(length)
        assert f"base {capture.attrs['base']:,.0f}" in row or capture.attrs["base"] == 10_000
        assert capture.attrs["train_len"] == 128
        assert ("samples/kept_query" in capture) == ("kept" in name)


def test_the_examples_stay_small():
    assert sum(path.stat().st_size for path in FOLDER.glob("example-*.h5")) < 21e6


def test_the_example_of_a_study_is_the_table_in_the_results():
    table, copy = (FOLDER.parent / place for place in STUDY)
    assert copy.read_bytes() == table.read_bytes()
    assert f"`{copy.name}`" in describe_format()

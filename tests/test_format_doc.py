"""The description of the format says what the schema says."""

from pathlib import Path

from ropediag import schema
from ropediag.format_doc import describe_format

PAGE = Path(__file__).parents[1] / "captures" / "README.md"


def test_the_committed_page_is_the_generated_one():
    remedy = "run: python -m ropediag.format_doc > captures/README.md"
    assert PAGE.read_text(encoding="utf-8") == describe_format(), remedy


def test_every_name_of_the_format_is_described():
    page = describe_format()
    for variable in schema.VARIABLES:
        assert f"| `{variable.name}` | ({', '.join(variable.dims)}) |" in page
    for name in [*schema.ATTRIBUTES, *(dimension.name for dimension in schema.DIMENSIONS)]:
        assert f"| `{name}` |" in page


def test_every_row_of_a_table_has_the_cells_of_its_head():
    cells = 0
    for line in describe_format().splitlines():
        if not line.startswith("|"):
            cells = 0
            continue
        count = line.replace("\\|", "").count("|")
        assert count == (cells or count), line
        cells = count

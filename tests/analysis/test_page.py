"""The page on the analysis lists every diagnostic as the code describes it."""

from pathlib import Path

from ropediag.analysis.diagnostic import list_diagnostics

PAGE = Path(__file__).parents[2] / "docs" / "analysis.md"


def test_the_page_lists_every_diagnostic_with_its_question_and_source():
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    expected = [
        f"| `{name}`{' *' if each.geometry or each.training else ''} | {each.question} | {each.source} |"
        for name, each in list_diagnostics().items()
    ]
    assert rows == expected

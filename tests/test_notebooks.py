"""The notebooks run from a clean start, and what is committed beside them is what they are."""

from pathlib import Path

import jupytext
import nbformat
import pytest
from nbclient import NotebookClient

SCRIPTS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_its_key_numbers_hold(script, monkeypatch):
    monkeypatch.setenv("PLOTLY_RENDERER", "plotly_mimetype")
    notebook = jupytext.read(script)
    NotebookClient(notebook, timeout=1500, resources={"metadata": {"path": str(script.parent)}}).execute()
    last = notebook.cells[-1]
    assert last.cell_type == "code"
    assert "assert" in last.source


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_the_committed_outputs_are_those_of_the_script(script):
    committed = nbformat.read(script.with_suffix(".ipynb"), as_version=4)
    ours = [(cell.cell_type, cell.source) for cell in jupytext.read(script).cells]
    assert [(cell.cell_type, cell.source) for cell in committed.cells] == ours
    for cell in committed.cells:
        if cell.cell_type == "code":
            assert cell.execution_count
            assert not [output for output in cell.outputs if output.output_type == "error"]
    assert any("image/svg+xml" in output.get("data", {}) for cell in committed.cells
               for output in cell.get("outputs", ()))  # fmt: skip


def test_every_notebook_has_a_script():
    folder = SCRIPTS[0].parent
    assert {path.stem for path in folder.glob("*.ipynb")} == {path.stem for path in SCRIPTS}

"""What docs/extend.md adds is there: in the analysis, as a figure and as a page of the dashboard."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLACES = ("ropediag/analysis/token_spread.py", "ropediag/plots/token_spread.py", "app/pages/tokens.py")
LOOK = """
import ropediag.app
from pathlib import Path
from ropediag import open_capture
from ropediag.analysis.diagnostic import list_diagnostics
from ropediag.app.page import find_pages
from ropediag.app.view import Desk
from ropediag.plots.diagnostic import plot_diagnostic

folder = Path({captures!r})
page = next(page for page in find_pages() if page.title == "Tokens")
(panel,), view = page.panels, Desk(folder).view({{"capture": "example-8192.h5"}})
measured = panel.measure(view)
assert 0 <= float(measured.spread.min()) < float(measured.spread.max()) <= 1
assert len(panel.draw(measured, view).data) == 2
assert panel.explain(measured).startswith("Does a pair")
exec(panel.code(view))
with open_capture(folder / "example-8192.h5") as capture:
    plot_diagnostic(list_diagnostics()["token_spread"](capture))
page.layout()
"""


def test_the_examples_of_the_page_work(tmp_path):
    blocks = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs" / "extend.md").read_text(encoding="utf-8"), re.DOTALL
    )
    assert len(blocks) == len(PLACES)
    shutil.copytree(ROOT / "ropediag", tmp_path / "ropediag")
    shutil.copytree(ROOT / "app", tmp_path / "ropediag" / "app")
    for place, block in zip(PLACES, blocks, strict=True):
        path = tmp_path / (f"ropediag/{place}" if place.startswith("app") else place)
        path.write_text(block, encoding="utf-8")
    look = LOOK.format(captures=str(ROOT / "captures"))
    subprocess.run([sys.executable, "-W", "error::SyntaxWarning", "-c", look], cwd=tmp_path, check=True)

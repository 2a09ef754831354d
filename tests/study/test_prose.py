"""The prose of the coverage study: the words of HTML pages, whole pages held out."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "studies" / "prose.py"
PAGE = """<html><head><title>Not this</title><style>p {{}}</style></head><body>
<h1>Page <b>{n}</b></h1><p>One   word
and <i>another</i>.</p><script>alert(1)</script><ul><li>{long}</li></ul></body></html>"""


def make_prose(source: Path, target: Path) -> str:
    command = [sys.executable, str(SCRIPT), str(source), str(target)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_pages_become_their_words_and_each_eighth_is_held_out(tmp_path):
    for number in range(16):
        (tmp_path / f"p{number:02}.html").write_text(PAGE.format(n=number, long="long " * 500))
    (tmp_path / "short.html").write_text(PAGE.format(n="short", long=""))
    said = make_prose(tmp_path, tmp_path / "prose")
    assert sorted(path.name for path in (tmp_path / "prose/heldout").iterdir()) == ["p07.txt", "p15.txt"]
    assert len(list((tmp_path / "prose/train").iterdir())) == 14
    lines = (tmp_path / "prose/train/p03.txt").read_text().splitlines()
    assert lines[:2] == ["Page 3", "One word and another."]
    assert lines[2].split() == ["long"] * 500
    assert len(lines) == 3
    assert "heldout: " in said
    assert make_prose(tmp_path, tmp_path / "again") == said

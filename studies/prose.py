"""English prose to pretrain on: An Anarchist FAQ, the largest free text of one kind among Debian's packages.

    apt-get download anarchism && dpkg -x anarchism_*.deb anarchism
    python studies/prose.py anarchism build/prose

writes ``build/prose/train`` and ``build/prose/heldout``, one text file a page; every eighth page is held out.
The package is version 15.3-3 in Debian 12; its text is under the GNU Free Documentation License.
"""

import hashlib
import sys
from html.parser import HTMLParser
from pathlib import Path

BREAKS = {"p", "br", "div", "h1", "h2", "h3", "h4", "li", "tr", "blockquote", "ul", "ol", "table"}
SILENT = {"script", "style", "head"}
LEAST = 2000  # bytes of a page that counts
HELD_OUT = 8  # one page in so many


class Reader(HTMLParser):
    """Collects the words of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []
        self.silent = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.silent += tag in SILENT
        if tag in BREAKS:
            self.pieces.append("\n")

    def handle_endtag(self, tag: str) -> None:
        self.silent -= tag in SILENT
        if tag in BREAKS:
            self.pieces.append("\n")

    def handle_data(self, data: str) -> None:
        if not self.silent:
            before, after = (" " if one.isspace() else "" for one in (data[:1], data[-1:]))
            self.pieces.append(before + " ".join(data.split()) + after)


def read_page(path: Path) -> str:
    """Read the words of an HTML page, a paragraph a line."""
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8", errors="replace"))
    lines = (" ".join(line.split()) for line in "".join(reader.pieces).splitlines())
    return "\n".join(line for line in lines if line) + "\n"


def main(source: Path, target: Path) -> None:
    pages = {path.stem: read_page(path) for path in sorted(source.rglob("*.html"))}
    kept = {name: text for name, text in pages.items() if len(text.encode()) >= LEAST}
    for place, (name, text) in enumerate(kept.items()):
        folder = target / ("heldout" if place % HELD_OUT == HELD_OUT - 1 else "train")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    for part in ("train", "heldout"):
        files = sorted((target / part).glob("*.txt"))
        text = "".join(path.read_text(encoding="utf-8") for path in files).encode()
        digest = hashlib.sha256(text).hexdigest()[:16]
        print(f"{part}: {len(text):,} bytes in {len(files)} files, sha256 {digest}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

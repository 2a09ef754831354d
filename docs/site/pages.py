"""Where the site takes its pages from: the repository's own Markdown, at its own places, and the code.

A page links to other files as it does in the repository, so it reads the same in both. Every file that a page
links to comes along; the reference has a page for each room, with every public name of its modules.
"""

import ast
import re
from pathlib import Path
from typing import Any

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CHANGELOG.md",
    "captures/README.md",
    "benchmarks/README.md",
    "notebooks/README.md",
    "docs/*.md",
)
SVG = "image/svg+xml"
SILENT = ("cli", "assets")  # rooms whose functions nobody calls


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the reference to the navigation."""
    notebooks = [f"notebooks/{path.stem}.md" for path in sorted((ROOT / "notebooks").glob("*.ipynb"))]
    reference = [f"reference/{name}.md" for name in _list_reference()]
    more = [{"Notebooks": ["notebooks/README.md", *notebooks]}, {"Reference": reference}]
    config.nav = [*(config.nav or []), *more]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Replace what lies in ``docs`` by the pages of the repository and those of the code."""
    found = Files([file for file in files if not (ROOT / "docs" / file.src_uri).exists()])
    pages = sorted({path for pattern in PAGES for path in ROOT.glob(pattern)})
    linked = {target for page in pages for target in _find_links(page)}
    for path in [*pages, *sorted(linked - set(pages))]:
        place = path.relative_to(ROOT).as_posix()
        found.append(File.generated(config, place, abs_src_path=str(path)))
    for place, text in _list_written().items():
        found.append(File.generated(config, place, content=text))
    return found


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Lead links to notebooks to their pages."""
    return markdown.replace(".ipynb)", ".md)")


def _list_written() -> dict[str, str]:
    """Everything that lies nowhere: the reference, and the notebooks as pages."""
    written = {f"reference/{name}.md": text for name, text in _list_reference().items()}
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        page, pictures = _write_page(notebook)
        written[f"notebooks/{notebook.stem}.md"] = page
        written |= {f"notebooks/{name}": picture for name, picture in pictures.items()}
    return written


def _find_links(page: Path) -> set[Path]:
    """Files of the repository that a page links to or shows."""
    targets = (
        page.parent / link for link in LINK.findall(page.read_text(encoding="utf-8")) if ":" not in link
    )
    return {target.resolve() for target in targets if target.is_file()}


def _list_reference() -> dict[str, str]:
    """Write a page for each room of the code, a section for each of its modules that has public names."""
    rooms: dict[str, list[Path]] = {}
    for path in sorted((ROOT / "ropediag").rglob("*.py")):
        room = path.relative_to(ROOT / "ropediag").parts[0]
        if room not in SILENT and _has_public_names(path):
            rooms.setdefault("laws and geometry" if room.endswith(".py") else room, []).append(path)
    index = "# Reference\n\nEvery public name; [what is where](../docs/architecture.md).\n\n"
    texts = {"index": index}
    for room, paths in rooms.items():
        name = room.replace(" ", "-")
        texts["index"] += f"- [{room}]({name}.md)\n"
        modules = (".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths)
        texts[name] = f"# {room}\n\n" + "\n".join(
            f"::: {module.removesuffix('.__init__')}" for module in modules
        )
    return texts


def _has_public_names(path: Path) -> bool:
    kinds = (ast.FunctionDef, ast.ClassDef)
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return any(isinstance(one, kinds) and not one.name.startswith("_") for one in body)


def _write_page(notebook: Path) -> tuple[str, dict[str, str]]:
    """Write a notebook as Markdown.

    Returns
    -------
    the page, and its pictures: name of the file -> SVG
    """
    parts, pictures = [], {}
    for cell in nbformat.read(notebook, as_version=4).cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(_fence(cell.source, "python"))
        for output in cell.outputs:
            data = output.get("data", {})
            if SVG in data:
                name = f"{notebook.stem}-{len(pictures)}.svg"
                pictures[name] = data[SVG]
                parts.append(f"![Figure {len(pictures)}]({name})")
            else:
                parts.append(
                    data.get("text/html") or _fence(data.get("text/plain") or output.get("text", ""), "text")
                )
    return "\n\n".join(parts) + "\n", pictures


def _fence(text: str, language: str) -> str:
    return f"```{language}\n{text.rstrip()}\n```"

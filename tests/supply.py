"""What a development environment is made of: every package that the project needs, by whom it is licensed."""

import importlib.metadata
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "licences.md"
ACCEPTED = ("MIT", "BSD", "Apache", "PSF", "Python Software Foundation", "MPL", "Mozilla", "ISC", "Zope")
CUDA = ("nvidia-", "cuda-", "triton")  # what torch brings where it is built for CUDA
BY_HAND = {"axe-playwright-python": "MIT"}  # whose metadata do not say what their LICENSE says
_HEAD = """# Licences of what ropediag needs

ropediag itself is MIT. What `pip install ropediag` brings along, with the licence that each package states;
the tests check that this list is whole and that each licence may be combined with ours. torch for CUDA also
brings NVIDIA's libraries, under NVIDIA's own licence. Written by
`python -m tests.supply > docs/licences.md`.

| package | version | licence |
|---|---|---|
"""


@dataclass(frozen=True, order=True)
class Package:
    """One package that is installed."""

    name: str
    version: str
    licence: str


def list_packages(name: str = "ropediag", extras: tuple[str, ...] = ()) -> list[Package]:
    """List everything that a package needs, and what that needs, without the package itself."""
    found: dict[str, Package] = {}
    waiting = [(name, extras)]
    seen = set()
    while waiting:
        each, wanted = waiting.pop()
        if (each, wanted) in seen:
            continue
        seen.add((each, wanted))
        distribution = importlib.metadata.distribution(each)
        found[canonicalize_name(each)] = Package(
            canonicalize_name(each), distribution.version, read_licence(distribution)
        )
        waiting += _needed(distribution, wanted)
    return sorted(package for key, package in found.items() if key != canonicalize_name(name))


def _needed(
    distribution: importlib.metadata.Distribution, extras: tuple[str, ...]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    for text in distribution.requires or ():
        requirement = Requirement(text)
        marker = requirement.marker
        if requirement.name.startswith(CUDA):
            continue
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield requirement.name, tuple(sorted(requirement.extras))


def read_licence(distribution: importlib.metadata.Distribution) -> str:
    """Find the licence that a package states: SPDX expression, else classifiers, else a line of text."""
    told = distribution.metadata
    classifiers = [line.split(" :: ")[-1] for line in told.get_all("Classifier", []) if "License ::" in line]
    text = (told.get("License") or "").strip().splitlines()
    said = told.get("License-Expression") or ", ".join(classifiers) or (text[0] if text else "")
    said = said if said and said != "OSI Approved" else (text[0] if text else "")
    return BY_HAND.get(canonicalize_name(told["Name"]), re.sub(r"\s+", " ", said))


def write_page() -> str:
    """Write the page, Markdown."""
    rows = [f"| {one.name} | {one.version} | {one.licence} |" for one in list_packages()]
    return _HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    print(write_page(), end="")

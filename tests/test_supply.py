"""What is installed is what the lock names, hash by hash, and may be used together with an MIT licence."""

import re
import sys

import pytest
from packaging.markers import Marker
from packaging.utils import canonicalize_name

from tests.supply import ACCEPTED, PAGE, ROOT, list_packages, write_page

LINE = re.compile(r"^([A-Za-z0-9_.-]+)==([^\s;\\]+)\s*(?:;\s*(.*?))?\s*\\?$", re.MULTILINE)
BY_MACHINE = "torch"  # whose build for the CPU has another hash than that for CUDA


def read_lock():
    """Name and version of everything locked for this machine, and how many hashes stand below it."""
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    found = {}
    for match in LINE.finditer(text):
        name, version, marker = match.groups()
        if marker is None or Marker(marker).evaluate():
            below = text[match.end() :].split("\n    # via")[0]
            found[canonicalize_name(name)] = version, below.count("--hash=sha256:")
    return found


def read_constraints():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if "==" in line and not line.startswith("#")]
    return {canonicalize_name(name): version.split(";")[0].strip() for name, version in pairs}


def test_everything_that_development_needs_is_locked_with_its_hash():
    lock = read_lock()
    needed = {
        one.name: one.version for one in list_packages("ropediag", ("dev", "docs")) if one.name != BY_MACHINE
    }
    assert needed.keys() <= lock.keys()
    assert {name: lock[name][0] for name in needed} == needed
    assert all(hashes for _, hashes in lock.values())


def test_the_versions_that_users_get_advised_are_the_locked_ones():
    constraints = read_constraints()
    differing = {name: (version, constraints[name]) for name, (version, _) in read_lock().items()
                 if constraints.get(name, version) != version}  # fmt: skip
    assert not differing


@pytest.mark.parametrize("one", list_packages("ropediag", ("dev", "docs")), ids=lambda one: one.name)
def test_a_licence_may_be_combined_with_ours(one):
    assert any(name in one.licence for name in ACCEPTED), f"{one.name}: {one.licence!r}"
    assert not re.search(r"\b(A|L)?GPL|GNU", one.licence)


def names_in(page):
    return [line.split(" | ")[0] for line in page.splitlines() if line.startswith("| ")]


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the page is written with Python 3.11")
def test_the_page_lists_every_package():
    assert names_in(write_page()) == names_in(PAGE.read_text(encoding="utf-8"))

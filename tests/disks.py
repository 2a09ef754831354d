"""Small file systems: one that fills up, one that is read-only. Mounting takes root."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def mount_disk(place: Path, mebibytes: int) -> Iterator[Path]:
    """A file system of this size at ``place``; skips the test where mounting is not permitted."""
    place.mkdir()
    _mount(f"size={mebibytes}m", "tmpfs", str(place))
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def make_read_only(place: Path) -> None:
    """Let nobody write to a mounted file system any more."""
    _mount("remount,ro", "tmpfs", str(place))


def fill_disk(place: Path, left: int) -> Path:
    """Fill a file system until ``left`` bytes are free; gives the file that does, to be removed."""
    ballast = place / "ballast"
    status = os.statvfs(place)
    ballast.write_bytes(bytes(status.f_bavail * status.f_frsize - left))
    return ballast


def _mount(options: str, *what: str) -> None:
    command = ["mount", "-t", "tmpfs", "-o", options, *what]
    done = subprocess.run(command, capture_output=True, text=True) if os.geteuid() == 0 else None
    if done is None or done.returncode:
        if done is not None and os.environ.get("ROPEDIAG_REQUIRE_TOOLS") == "1":
            pytest.fail(f"mounting a small disk failed: {done.stderr}")
        pytest.skip("mounting a small disk is not permitted here")

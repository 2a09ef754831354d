"""What is installed elsewhere: a wheel made from the source distribution, in a folder of its own.

Dependencies are those at hand; everything of ropediag comes from the wheel.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = ("ropediag", "app", "pyproject.toml", "README.md", "LICENSE")
BUILD = "from setuptools import build_meta; build_meta.build_sdist({!r})"


def call(*words: object, cwd: Path, **environment: str) -> str:
    done = subprocess.run([*map(str, words)], cwd=cwd, env=os.environ | environment, capture_output=True,
                          text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    source, made = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("made")
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    call(sys.executable, "-c", BUILD.format(str(made)), cwd=source)
    (packed,) = made.glob("*.tar.gz")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    call(*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", made, packed, cwd=made)
    return next(made.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The folder that the wheel was installed into."""
    folder = tmp_path_factory.mktemp("installed")
    call(
        sys.executable,
        "-m",
        "pip",
        "install",
        "--no-deps",
        "--no-index",
        "--target",
        folder,
        wheel,
        cwd=folder,
    )
    return folder


def test_a_wheel_holds_no_package_called_app_and_all_that_is_not_code(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names if ".dist-info" not in name} == {"ropediag"}
    held = {name for name in names if not name.endswith(".py")}
    for folder, inside in (("ropediag", "ropediag"), ("app", "ropediag/app")):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".py":
                assert f"{inside}/{path.relative_to(ROOT / folder).as_posix()}" in held


def test_every_command_works_from_an_empty_folder_outside_the_checkout(installed, tmp_path):
    ropediag = (sys.executable, "-m", "ropediag")
    where = {"PYTHONPATH": str(installed)}
    place = call(
        sys.executable, "-c", "import ropediag.app.server as it; print(it.__file__)", cwd=tmp_path, **where
    )
    assert Path(place.strip()).is_relative_to(installed)
    call(*ropediag, "capture", "--model", "demo", "--len", 512, "--out", "own.h5", cwd=tmp_path, **where)
    told = json.loads(call(*ropediag, "analyze", "own.h5", "--json", cwd=tmp_path, **where))
    assert told["predicted_limit"] == 128
    call(*ropediag, "report", "own.h5", "--out", "own.html", cwd=tmp_path, **where)
    assert (tmp_path / "own.html").stat().st_size > 1_000_000
    port = free_port()
    command = [*ropediag, "dash", ".", "--port", str(port)]
    with subprocess.Popen(
        command, cwd=tmp_path, env=os.environ | where, stdout=subprocess.DEVNULL
    ) as process:
        try:
            page = ask(f"http://127.0.0.1:{port}/")
        finally:
            process.terminate()
    assert "ropediag" in page


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def ask(address: str) -> str:
    for _ in range(100):
        try:
            with urllib.request.urlopen(address) as answer:
                return answer.read().decode()
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"no answer from {address}")

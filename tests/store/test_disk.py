"""Files are whole under their names, what killed processes left goes, and a full disk is named."""

import errno
import subprocess
import sys

import pytest

from ropediag.errors import CaptureError
from ropediag.store.disk import publish, publish_alone, says_full, writing

FULL = ("No space left on device (os error 28)", "basic_ios::clear: iostream error",
        "[...] PytorchStreamWriter failed writing file data/0")  # fmt: skip


def test_what_a_killed_process_left_goes_and_what_a_living_one_writes_stays(tmp_path):
    path = tmp_path / "a[1].json"
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = tmp_path / f".a[1].json.{dead.pid}.tmp"
    others = [tmp_path / name for name in (".a[1].json.1.tmp", f".b.json.{dead.pid}.tmp", ".a[1].json.x.tmp")]
    for each in (left, *others):
        each.write_text("half")
    publish_alone(path, "whole")
    assert path.read_text() == "whole"
    assert not left.exists()
    assert all(each.exists() for each in others)


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "a").mkdir()  # no file can take its name
    with pytest.raises(CaptureError, match="cannot write"):
        publish(tmp_path / "a", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_no_room_is_said_with_figures(tmp_path, code):
    message = r"no space left to write .*needs 3\.0 MiB, [0-9.]+ MiB are free"
    with pytest.raises(CaptureError, match=message), writing(tmp_path / "a", 3 * 2**20):
        raise OSError(code, "no")


@pytest.mark.parametrize("said", FULL)
def test_a_full_disk_is_known_by_what_was_said_first(said):
    last = RuntimeError("unexpected pos 64 vs 0")
    assert not says_full(last)
    last.__context__ = RuntimeError(said)
    assert says_full(last)
    assert says_full(RuntimeError(said))

"""Beginning, resuming and replacing captures: nothing taken is overwritten, nothing done is redone."""

import os

import pytest

from ropediag.errors import CaptureError
from ropediag.store import CaptureWriter
from tests.store.synthetic import (
    make_attributes,
    make_header,
    make_layer,
    make_loss,
    write_capture,
    write_units,
)


@pytest.fixture
def header():
    return make_header()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.h5"


def test_a_taken_name_is_refused_and_force_replaces_it(path, header):
    write_capture(path)
    before = path.read_bytes()
    with pytest.raises(CaptureError, match="--force"):
        CaptureWriter.create(path, header, make_attributes())
    with pytest.raises(CaptureError, match="no attribute"):
        CaptureWriter.create(path, header, {"wrong": 1}, force=True)
    assert path.read_bytes() == before
    CaptureWriter.create(path, header, make_attributes(), force=True).close()
    assert not path.exists()
    with pytest.raises(CaptureError, match=r"--resume.*--force"):
        CaptureWriter.create(path, header, make_attributes())
    CaptureWriter.create(path, header, make_attributes(), force=True).close()


def test_force_does_not_remove_a_folder_with_other_files(path, header):
    CaptureWriter.create(path, header, make_attributes()).close()
    diary = path.with_name("run.h5.partial") / "diary.txt"
    diary.write_text("dear")
    with pytest.raises(CaptureError, match=r"diary\.txt"):
        CaptureWriter.create(path, header, make_attributes(), force=True)
    assert diary.read_text() == "dear"


@pytest.mark.parametrize("name", ["config", "weight_fingerprint", "text_hash", "length"])
def test_resuming_another_run_names_what_differs(path, header, name):
    CaptureWriter.create(path, header, make_attributes()).close()
    other = {name: 41 if name == "length" else "other"}
    with pytest.raises(CaptureError, match=f"another {name}: .*other|another {name}: 40 there, 41 now"):
        CaptureWriter.resume(path, header, make_attributes(**other))
    with pytest.raises(CaptureError, match="another coordinate 'kv_head'"):
        CaptureWriter.resume(path, make_header(kv_heads=4), make_attributes())
    write_capture(path.with_name("done.h5"))
    with pytest.raises(CaptureError, match=f"another {name}"):
        CaptureWriter.resume(path.with_name("done.h5"), header, make_attributes(**other))


def test_resume_goes_on_where_it_stopped(path, header):
    with CaptureWriter.resume(path, header, make_attributes()) as writer:  # nothing there: begins
        writer.write_layer(1, 2, make_layer(header, 1, 2))
        writer.write_loss(1, make_loss(1))
    leftover = path.with_name("run.h5.partial") / ".layer-0000-0000.h5.77.tmp"
    leftover.write_bytes(b"half")
    with CaptureWriter.resume(path, header, make_attributes(created="later")) as writer:
        assert not leftover.exists()
        assert writer.has_layer(1, 2)
        assert not writer.has_layer(0, 2)
        assert writer.has_loss(1)
        with pytest.raises(CaptureError, match="6 units are missing, first layer 0 of sequence 0"):
            writer.finish({})
        write_units(writer, header)
        assert writer.finish({}) == path
    assert os.listdir(path.parent) == ["run.h5"]


def test_resuming_a_finished_capture_has_nothing_to_do(path, header):
    write_capture(path)
    before = path.read_bytes()
    path.with_name("run.h5.partial").mkdir()  # a kill between the rename and the removal
    with CaptureWriter.resume(path, header, make_attributes()) as writer:
        assert writer.has_layer(0, 0)
        assert writer.has_loss(1)
        with pytest.raises(CaptureError, match="finished or closed"):
            writer.write_loss(0, make_loss(0))
        assert writer.finish({}) == path
    assert os.listdir(path.parent) == ["run.h5"]
    assert path.read_bytes() == before


def test_two_processes_cannot_write_one_capture(path, header):
    with (
        CaptureWriter.create(path, header, make_attributes()),
        pytest.raises(CaptureError, match="another process"),
    ):
        CaptureWriter.resume(path, header, make_attributes())
    CaptureWriter.resume(path, header, make_attributes()).close()


def test_places_where_no_capture_can_go_are_refused(tmp_path, header):
    (tmp_path / "dir.h5").mkdir()
    for name, message in [
        ("no/run.h5", "is not a folder"),
        ("dir.h5", "is a folder"),
        ("a.h5.partial", "name the finished file"),
    ]:
        with pytest.raises(CaptureError, match=message):
            CaptureWriter.create(tmp_path / name, header, make_attributes())

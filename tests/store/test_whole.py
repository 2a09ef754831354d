"""A file written at once: read like any other, whole or not there, refused before it is begun."""

import json
import os
import subprocess

import numpy as np
import pytest
import xarray as xr

from ropediag.errors import CaptureError
from ropediag.store import check_name, open_capture, summarize, write_whole
from ropediag.store.folder import Folder
from tests.store.synthetic import make_attributes

COORDINATES = {
    "sequence": np.arange(2),
    "position": np.arange(9),
    "task": np.arange(1),
    "length": np.array([8, 16]),
    "depth": np.array([0.0, 0.5, 1.0]),
}


def make_arrays():
    random = np.random.default_rng(0)
    return {
        "loss/nll": random.gamma(2.0, size=(2, 9)).astype("f4"),
        "recall/task_name": np.array(["clé"], dtype=object),
        "recall/hits": random.integers(0, 9, (1, 2, 3)),
    }


def write(path, **changes):
    arguments = {
        "coordinates": COORDINATES,
        "arrays": make_arrays(),
        "attributes": make_attributes(kind="ablation"),
    }
    return write_whole(path, **{**arguments, **changes})


def test_what_was_written_is_read(tmp_path):
    path, arrays = write(tmp_path / "new" / "out.h5"), make_arrays()
    with open_capture(path) as found:
        assert found.variables == tuple(arrays)
        for name, values in arrays.items():
            np.testing.assert_array_equal(found.values(name), values)
        assert found["recall/hits"].dims == ("task", "length", "depth")
        assert (found.attrs["kind"], found.status) == ("ablation", "complete")
    assert summarize(path).sizes == {name: len(values) for name, values in COORDINATES.items()}
    with xr.open_datatree(path) as tree:
        np.testing.assert_array_equal(tree["recall/hits"].length, [8, 16])
    assert [entry.name for entry in path.parent.iterdir()] == ["out.h5"]


def test_other_readers_open_it(tmp_path, require_tool):
    done = subprocess.run(
        [require_tool("ncdump"), "-v", "hits", write(tmp_path / "a.h5")], capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert b"depth" in done.stdout


BAD = {
    "a name the schema has not": ({"arrays": {"loss/nil": np.zeros(3)}}, "no variable 'loss/nil'"),
    "a wrong shape": ({"arrays": {"loss/nll": np.zeros((2, 8), "f4")}}, r"must have the shape \(2, 9\)"),
    "a wrong kind": ({"arrays": {"recall/hits": np.zeros((1, 2, 3))}}, "must be of dtype int64"),
    "no coordinate": ({"coordinates": {"sequence": np.arange(2)}}, "needs the coordinate 'position'"),
    "a falling axis": ({"coordinates": COORDINATES | {"length": np.array([9, 8])}}, "not repeat or fall"),
    "an unknown attribute": ({"attributes": {"mood": "good"}}, "no attribute 'mood'"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_fit_the_schema_is_refused_and_leaves_nothing(tmp_path, case):
    changes, said = BAD[case]
    with pytest.raises(CaptureError, match=said):
        write(tmp_path / "out.h5", **changes)
    assert list(tmp_path.iterdir()) == []


def test_names_that_are_taken_are_refused(tmp_path):
    path = write(tmp_path / "out.h5")
    before = path.read_bytes()
    for refuse in (check_name, write):
        with pytest.raises(CaptureError, match="exists"):
            refuse(path)
    assert path.read_bytes() == before
    write(path, attributes=make_attributes(kind="ablation", config=json.dumps({"new": 1})), force=True)
    assert path.read_bytes() != before
    Folder.beside(tmp_path / "growing.h5").path.mkdir()
    with pytest.raises(CaptureError, match="a capture under way"):
        check_name(tmp_path / "growing.h5", force=True)


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = write(tmp_path / "out.h5")
    before = path.read_bytes()

    def refuse(*_):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("ropediag.store.disk.os.write", refuse)
    with pytest.raises(CaptureError, match="no space left"):
        write(path, force=True)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.h5"]


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(CaptureError, match="not a folder that can be written to"):
        check_name(tmp_path / "file" / "out.h5")

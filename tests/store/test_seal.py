"""A finished file is sealed: no byte of it changes unnoticed, and other programs read it all the same."""

import io
import os
import shutil

import h5py
import numpy as np
import pytest

from ropediag.errors import FormatError
from ropediag.store import open_capture, seal
from ropediag.store.seal import SIZE, check_seal, seal_file, seal_of
from tests.store.synthetic import write_capture


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return write_capture(tmp_path_factory.mktemp("finished") / "run.h5")


@pytest.fixture
def copy(finished, tmp_path):
    return shutil.copy(finished, tmp_path / "copy.h5")


def test_every_single_byte_is_covered(finished, copy):
    """Also those that hold nothing: any other byte is found, wherever it stands."""
    image = finished.read_bytes()
    random = np.random.default_rng(1)
    magic = len(image) - SIZE
    places = [0, magic - 1, *random.integers(0, magic, 60), magic + 16, magic + 24, len(image) - 1]
    for place in places:
        damaged = bytearray(image)
        damaged[place] ^= 1 << int(random.integers(8))
        copy.write_bytes(damaged)
        with pytest.raises(FormatError, match="damaged: its bytes are not those that were sealed"):
            open_capture(copy)


@pytest.mark.parametrize("missing", [1, SIZE - 1, SIZE, SIZE + 1, 5000])
def test_a_file_without_its_end_is_refused(copy, missing):
    os.truncate(copy, copy.stat().st_size - missing)
    with pytest.raises(FormatError, match=r"has lost its seal|is not a whole HDF5 file"):
        open_capture(copy)


def test_a_file_that_another_program_changed_is_refused_until_it_is_sealed_anew(copy):
    with h5py.File(copy, "r+") as file:
        file["loss/nll"][0, 0] = 7.0
    with pytest.raises(FormatError, match=r"has lost its seal.*seal_file"):
        open_capture(copy)
    seal_file(copy)
    with open_capture(copy) as capture:
        assert capture.values("loss/nll")[0, 0] == 7.0
    sealed = copy.read_bytes()
    seal_file(copy)
    assert copy.read_bytes() == sealed


def test_a_wrong_seal_is_replaced_not_added_to(copy):
    image = bytearray(copy.read_bytes())
    image[-1] ^= 1
    copy.write_bytes(image)
    seal_file(copy)
    assert copy.stat().st_size == len(image)
    open_capture(copy).close()


def test_a_format_that_had_no_seal_is_read_without(copy):
    with h5py.File(copy, "r+") as file:
        file.attrs["schema_version"] = 4
    assert not check_seal(copy, "copy.h5")
    open_capture(copy).close()


def test_a_seal_is_read_once_until_the_file_changes(copy, monkeypatch):
    read = []
    own = seal._digest
    monkeypatch.setattr(seal, "_digest", lambda *given: read.append(1) or own(*given))
    for _ in range(3):
        open_capture(copy).close()
    assert len(read) == 1
    image = copy.read_bytes()
    copy.write_bytes(image)  # the same bytes, written anew
    open_capture(copy).close()
    assert len(read) == 2


def test_the_seal_of_a_file_is_that_of_its_bytes(tmp_path):
    content = np.random.default_rng(0).bytes(5 * 2**20 + 17)
    path = tmp_path / "x"
    path.write_bytes(content)
    with open(path, "rb") as file:
        assert seal_of(file) == seal_of(io.BytesIO(content))
    path.write_bytes(content + seal_of(io.BytesIO(content)))
    assert check_seal(path, "x")

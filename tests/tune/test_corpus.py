"""The default text: a fixed list, a split that depends on paths alone, and counts of what differs."""

import hashlib
import shutil

import pytest

from ropediag.assets import held_out_text
from ropediag.errors import ConfigError
from ropediag.tune.corpus import (
    library_folder,
    list_standard_library,
    read_library_list,
    read_standard_library,
)


def this_python_is_the_lists():
    return list_standard_library(library_folder()) == read_library_list()


def test_the_list_leaves_out_tests_tables_and_builds(tmp_path):
    kept = ["abc.py", "email/parser.py", "testing/kept.py"]
    skipped = ["test/a.py", "unittest/test/b.py", "idlelib/idle_test/c.py", "encodings/cp1.py"]
    skipped += ["site-packages/d.py", "_sysconfigdata__linux_x.py", "config-3.11/e.py", "notes.txt"]
    for path in kept + skipped:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("x = 1\n")
    files = list_standard_library(tmp_path)
    assert [file.path for file in files] == sorted(kept)
    assert {file.sha256 for file in files} == {hashlib.sha256(b"x = 1\n").hexdigest()}


def test_the_split_depends_on_the_path_alone():
    for file in read_library_list():
        held_out = int(hashlib.sha256(file.path.encode()).hexdigest(), 16) % 6 == 0
        assert file.split == ("heldout" if held_out else "train"), file.path


def test_no_training_file_stands_in_the_held_out_text():
    held_out = held_out_text().read_bytes()
    library = library_folder()
    for file in read_library_list():
        path = library / file.path
        if file.split == "train" and path.is_file() and path.stat().st_size > 200:
            assert path.read_bytes() not in held_out, file.path


@pytest.mark.skipif(not this_python_is_the_lists(), reason="another Python than the bundled list")
def test_the_bundled_text_is_the_held_out_files_joined():
    header, _, body = held_out_text().read_bytes().partition(b"\n\n")
    assert all(line.startswith(b"# ") for line in header.splitlines())
    assert body == read_standard_library("heldout").text


@pytest.mark.skipif(not this_python_is_the_lists(), reason="another Python than the bundled list")
def test_changed_and_absent_files_are_counted(tmp_path):
    train = [file.path for file in read_library_list() if file.split == "train"]
    for path in train:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library_folder() / path, tmp_path / path)
    (tmp_path / train[5]).write_text("changed\n")
    (tmp_path / train[9]).unlink()
    text = read_standard_library("train", tmp_path)
    assert (text.files, text.differing, text.missing) == (len(train) - 1, 1, 1)
    assert b"changed\n" in text.text


def test_a_folder_without_most_of_the_files_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"files are missing in .*Pass --text"):
        read_standard_library("train", tmp_path)

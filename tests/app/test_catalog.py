"""The catalog names what a folder holds, says why a file cannot be read, and never leaves the folder."""

import os
import shutil
from pathlib import Path

import pytest

from ropediag.app import catalog
from ropediag.app.catalog import Catalog
from ropediag.app.view import Desk
from ropediag.errors import ConfigError, FormatError
from ropediag.store import CaptureWriter
from ropediag.store.seal import check_seal
from tests.analysis.ragged import write_ragged
from tests.app.conftest import CAPTURES
from tests.store.synthetic import make_attributes, make_header, make_layer

EXAMPLE = CAPTURES / "example-8192.h5"


@pytest.fixture(autouse=True)
def _scan_always(monkeypatch) -> None:
    monkeypatch.setattr(catalog, "FRESH", 0.0)


def test_files_are_named_by_their_place_in_the_folder(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    shutil.copy(EXAMPLE, tmp_path / "runs" / "one.h5")
    found = Catalog(tmp_path).scan()
    assert list(found) == ["runs/one.h5"]
    assert found["runs/one.h5"].kind == "capture"


def test_a_file_that_cannot_be_read_is_listed_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "cut.h5").write_bytes(EXAMPLE.read_bytes()[:100_000])
    (tmp_path / "text.h5").write_text("no HDF5")
    found = Catalog(tmp_path).scan()
    assert all(entry.summary is None and not entry.kind for entry in found.values())
    assert "truncated" in found["cut.h5"].reason
    assert found["text.h5"].reason.startswith("text.h5 is not a whole HDF5 file")


def test_a_growing_capture_is_listed_under_its_final_name(tmp_path: Path) -> None:
    write_ragged(tmp_path / "grows.h5")
    (entry,) = Catalog(tmp_path).scan().values()
    assert entry.name == "grows.h5"
    assert entry.is_partial


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    shutil.copy(EXAMPLE, tmp_path / "outside.h5")
    os.symlink(tmp_path / "outside.h5", inside / "link.h5")
    os.symlink(tmp_path, inside / "up")
    assert Catalog(inside).scan() == {}


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "one.h5"
    path.write_text("not yet")
    names = Catalog(tmp_path)
    assert names.scan()["one.h5"].reason
    shutil.copy(EXAMPLE, path)
    assert names.scan()["one.h5"].kind == "capture"


@pytest.mark.parametrize("name", ["../outside.h5", "/etc/passwd", "one.h5\x00", "..%2foutside.h5", ""])
def test_a_name_from_a_browser_is_looked_up_and_never_joined(tmp_path: Path, name: str) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    shutil.copy(EXAMPLE, tmp_path / "outside.h5")
    shutil.copy(EXAMPLE, inside / "one.h5")
    view = Desk(inside).view({"capture": name})
    assert view.entry.name == "one.h5"
    with pytest.raises(FormatError, match="is no capture in inside/"):
        view.of(name)


def test_a_folder_without_captures_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ropediag capture --model demo"):
        _ = Desk(tmp_path).view({}).entry


def test_of_many_new_files_the_newest_and_those_asked_for_are_read_first(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(catalog, "AT_ONCE", 2)
    monkeypatch.setattr(Catalog, "_read_on", lambda self: None)  # nobody reads the rest
    for number in range(6):
        shutil.copy(EXAMPLE, tmp_path / f"{number}.h5")
        os.utime(tmp_path / f"{number}.h5", (1000 + number, 1000 + number))
    names = Catalog(tmp_path)
    found = names.scan(["1.h5", "none.h5"])
    assert list(found) == [f"{number}.h5" for number in range(6)]
    assert [name for name, entry in found.items() if not entry.is_unread] == ["1.h5", "4.h5", "5.h5"]
    assert [name for name, entry in names.scan().items() if entry.is_unread] == ["0.h5"]


def test_the_rest_is_read_without_being_asked_for(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(catalog, "AT_ONCE", 1)
    for number in range(4):
        shutil.copy(EXAMPLE, tmp_path / f"{number}.h5")
    (tmp_path / "4.h5").write_text("no HDF5")
    names = Catalog(tmp_path)
    assert sum(entry.is_unread for entry in names.scan().values()) == 4
    assert names._reader is not None
    names._reader.join(30)
    known = names._known.values()
    assert not any(entry.is_unread for entry in known)
    assert sum(entry.kind == "capture" for entry in known) == 4


def test_a_view_of_a_file_that_waits_is_of_that_file(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(catalog, "AT_ONCE", 1)
    monkeypatch.setattr(Catalog, "_read_on", lambda self: None)
    for number in range(4):
        shutil.copy(EXAMPLE, tmp_path / f"{number}.h5")
    desk = Desk(tmp_path)
    view = desk.view({"capture": "0.h5", "with": "2.h5//1.h5"})
    assert view.entry.name == "0.h5"
    assert {"0.h5", "1.h5", "2.h5"} <= desk.entries("capture").keys()


def test_a_growing_capture_is_looked_at_again_after_a_while(tmp_path: Path, monkeypatch) -> None:
    now = [100.0]
    monkeypatch.setattr(catalog.time, "monotonic", lambda: now[0])
    header, names = make_header(sequences=1, layers=range(5)), Catalog(tmp_path)
    with CaptureWriter.create(tmp_path / "grows.h5", header, make_attributes()) as writer:

        def missing_after(layer: int, seconds: float) -> int:
            writer.write_layer(0, layer, make_layer(header, 0, layer))
            now[0] += seconds
            return len(names.scan()["grows.h5"].summary.missing_layers)

        assert missing_after(0, 0.0) == 4
        assert missing_after(1, 1.0) == 3  # the first change is seen at once
        assert missing_after(2, 1.0) == 3
        assert missing_after(3, catalog.PACE) == 1


def test_a_file_that_goes_away_while_it_is_read_breaks_nothing(tmp_path: Path, monkeypatch) -> None:
    path = Path(shutil.copy(EXAMPLE, tmp_path / "one.h5"))

    def summarize_late(path: Path) -> None:
        path.unlink()
        path.stat()

    monkeypatch.setattr(catalog, "summarize", summarize_late)
    names = Catalog(tmp_path)
    assert names.scan()["one.h5"].reason == "one.h5 cannot be read: No such file or directory."
    assert names.scan() == {}
    with pytest.raises(FormatError, match=r"one\.h5 cannot be read: No such file"):
        check_seal(path, "one.h5")

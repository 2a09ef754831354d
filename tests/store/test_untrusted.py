"""Files that are damaged or that ropediag did not write: found out, named and refused."""

import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from ropediag.errors import CaptureError, ConfigError, FormatError
from ropediag.store import CaptureWriter, open_capture, summarize
from ropediag.store.seal import seal_file
from ropediag.store.units import VARIABLES
from tests.store.synthetic import LENGTH, make_attributes, make_header, make_layer, make_loss, write_capture

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return write_capture(tmp_path_factory.mktemp("finished") / "run.h5")


@pytest.fixture
def copy(finished, tmp_path):
    return Path(shutil.copy(finished, tmp_path / "copy.h5"))


@pytest.fixture
def growing(tmp_path):
    header = make_header()
    with CaptureWriter.create(tmp_path / "run.h5", header, make_attributes()) as writer:
        for place in [(0, 0), (0, 1), (0, 2), (1, 1)]:
            writer.write_layer(*place, make_layer(header, *place))
        writer.write_loss(0, make_loss(0))
    return tmp_path / "run.h5"


def test_a_flipped_byte_in_the_data_is_found_and_named(copy):
    with h5py.File(copy) as file:
        chunk = file["scores/mean"].id.get_chunk_info(0)
    image = bytearray(copy.read_bytes())
    image[chunk.byte_offset + chunk.size // 2] ^= 0x10
    copy.write_bytes(image)
    seal_file(copy)  # by whoever changed it: then the chunk's own checksum is left
    with open_capture(copy) as capture:
        capture["scores/std"].load()
        for read in (lambda: capture["scores/mean"].load(), lambda: capture.values("scores/mean")):
            with pytest.raises(
                FormatError, match=r"copy\.h5: scores/mean cannot be read: the file is damaged"
            ):
                read()


def test_damage_anywhere_is_noticed(finished, tmp_path):
    """In a process of its own, which must not crash."""
    code = """
import sys, numpy as np
from pathlib import Path
from ropediag.errors import CaptureError, ConfigError, FormatError
from ropediag.store import open_capture, summarize
source, target = Path(sys.argv[1]), Path(sys.argv[2])
def read():
    try:
        summarize(target)  # does not look at the seal, and must not crash either
    except FormatError:
        pass
    with open_capture(target) as capture:
        return {path: capture.values(path) for path in capture.variables}
image = source.read_bytes()
target.write_bytes(image)
right = read()
random = np.random.default_rng(5)
found = wrong = 0
for place in [*range(0, 512, 32), *random.integers(0, len(image), 20)]:
    damaged = bytearray(image)
    damaged[place] ^= 1 << random.integers(8)
    target.write_bytes(damaged)
    try:
        arrays = read()
    except FormatError:
        found += 1
        continue
    numbers = [path for path in arrays if arrays[path].dtype != object]
    wrong += not all(np.array_equal(arrays[path], right[path], equal_nan=True) for path in numbers)
for size in [0, 1, 600, len(image) // 2, len(image) - 1]:
    target.write_bytes(image[:size])
    try:
        read()
    except FormatError:
        found += 1
print(found, wrong)
"""
    command = [sys.executable, "-c", code, finished, tmp_path / "damaged.h5"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    found, wrong = map(int, result.stdout.split())
    assert found == 16 + 20 + 5
    assert wrong == 0


def edit(path, change):
    with h5py.File(path, "r+") as file:
        change(file)
    seal_file(path)  # else the missing seal is all that is found


def replace(file, path, shape, dtype="f4"):
    del file[path]
    file.create_dataset(path, shape, dtype)


def label(file, axis, values):
    file[axis][...] = values


def link_out(file):
    del file["scores/std"]
    file["scores/std"] = h5py.ExternalLink("/etc/secret.h5", "x")


def soft_link(file):
    file["scores/alias"] = h5py.SoftLink("/scores/mean")


def store_outside(file):
    file.create_dataset("scores/more", (4,), "f4", external=[("/etc/hostname", 0, 16)])


def virtual(file):
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", (4,))
    file.create_virtual_dataset("scores/more", layout)


def foreign_filter(file):
    file.create_dataset("scores/more", (64,), "f4", chunks=(64,), compression="lzf")


def declare_much(file):
    file.create_dataset("scores/more", (2**20, 2**20), "f4", chunks=(1, 1024))


def pack_much(file):
    file.create_dataset("scores/more", data=np.zeros(2**25, "f4"), chunks=(2**25,), compression="gzip")


def nest(file):
    file.create_group("scores/deeper")


def compound(file):
    file["scores/more"] = np.zeros(2, dtype=[("a", "f4")])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (link_out, r"/scores/std is an external link"),
        (soft_link, r"/scores/alias is a soft link"),
        (store_outside, "/scores/more lie outside"),
        (virtual, "/scores/more lie outside"),
        (foreign_filter, "filter 32000"),
        (declare_much, "/scores/more declares 4,096.0 GiB and stores 0 bytes"),
        (pack_much, "/scores/more is cut into chunks"),
        (nest, "/scores/deeper does not belong"),
        (compound, "must hold numbers or text"),
        (lambda f: f.attrs.modify("schema_version", 99), r"format version 99.*reads up to.*Update"),
        (lambda f: f.attrs.__delitem__("schema_version"), "not a ropediag file"),
        (lambda f: f.attrs.create("model", [1, 2]), "attribute 'model' has a wrong type"),
        (lambda f: f.attrs.create("length", "long"), "attribute 'length' has a wrong type"),
        (lambda f: f.attrs.__delitem__("length"), r"copy\.h5: attribute 'length' must be .*: got None"),
        (lambda f: f.attrs.create("length", np.nan), "attribute 'length' must be a whole number"),
        (lambda f: f.attrs.create("length", 0), "attribute 'length' must be a whole number"),
        (lambda f: f.attrs.create("train_len", np.nan), "attribute 'train_len' must be a whole number"),
        (lambda f: f.attrs.create("train_len", -1), "attribute 'train_len' must be .* from 0 on: got -1"),
        (lambda f: f.attrs.create("tune_len", 2.5), "attribute 'tune_len' must be a whole number"),
        (lambda f: f.attrs.create("base", np.inf), "attribute 'base' must be above 0"),
        (lambda f: f.attrs.create("pretrain_base", -1.0), "attribute 'pretrain_base' must be above 0"),
        (lambda f: label(f, "layer", [0, 1, 1]), r"copy\.h5: the coordinate 'layer' must not repeat"),
        (
            lambda f: label(f, "lag", sorted(f["lag"][...])[::-1]),
            "the coordinate 'lag' must not repeat or fall",
        ),
        (lambda f: replace(f, "loss/nll", (2, 3)), "must have the shape"),
        (lambda f: replace(f, "loss/nll", (2, LENGTH), "i4"), "must be of type f4"),
        (lambda f: replace(f, "lag", (26, 2), "i8"), "must be a list"),
        (lambda f: f.__delitem__("lag"), "no such coordinate"),
    ],
)
def test_what_ropediag_did_not_write_is_refused(copy, change, message):
    edit(copy, change)
    for read in (open_capture, summarize):
        with pytest.raises(FormatError, match=message):
            read(copy)


def test_the_numbers_of_a_growing_capture_are_checked_too(tmp_path):
    attributes = make_attributes(train_len=-1)
    with CaptureWriter.create(tmp_path / "run.h5", make_header(), attributes) as writer:
        writer.write_layer(0, 0, make_layer(make_header(), 0, 0))
    for read in (open_capture, summarize):
        with pytest.raises(FormatError, match="attribute 'train_len' must be a whole number"):
            read(tmp_path / "run.h5")


def test_what_may_be_missing_reads_as_unknown(copy):
    def strip(file):
        for name in ("model", "base", "pretrain_base", "train_len", "tune_len"):
            del file.attrs[name]

    edit(copy, strip)
    assert summarize(copy).attributes["length"] == LENGTH
    with open_capture(copy) as capture:
        assert capture.spec().base is None
        with pytest.raises(ConfigError, match="set-training"):
            _ = capture.training


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "x.h5"
    path.write_text("hello")
    with pytest.raises(FormatError, match="is not a whole HDF5 file"):
        open_capture(path)
    with h5py.File(path, "w") as file:
        file["x"] = 1.0
    with pytest.raises(FormatError, match="is not a ropediag file"):
        open_capture(path)
    (tmp_path / "y.h5.partial").mkdir()
    with pytest.raises(FormatError, match=r"header\.h5: no such file"):
        open_capture(tmp_path / "y.h5")


def test_a_unit_that_was_tampered_with_is_refused(growing):
    folder = growing.with_name("run.h5.partial")
    edit(folder / "layer-0000-0001.h5", soft_link)
    with pytest.raises(FormatError, match=r"layer-0000-0001\.h5: /scores/alias"):
        open_capture(growing)


def test_a_unit_that_is_a_link_is_not_followed(growing, tmp_path):
    folder = growing.with_name("run.h5.partial")
    unit = folder / "layer-0000-0001.h5"
    unit.rename(tmp_path / "elsewhere.h5")
    unit.symlink_to(tmp_path / "elsewhere.h5")
    for read in (open_capture, summarize):
        with pytest.raises(FormatError, match=r"layer-0000-0001\.h5 is a link"):
            read(growing)


def test_a_damaged_unit_is_named_with_what_to_do(growing):
    unit = growing.with_name("run.h5.partial") / "layer-0000-0001.h5"
    image = bytearray(unit.read_bytes())
    image[len(image) // 2] ^= 1
    unit.write_bytes(image)
    with pytest.raises(FormatError, match=r"layer-0000-0001\.h5 is damaged.*remove it.*with --resume"):
        open_capture(growing)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f["rope/inv_freq"].__setitem__((0, 0), -1.0), "rope/inv_freq must be at least 0"),
        (lambda f: f["rope/inv_freq"].__setitem__((0, 0), np.inf), "rope/inv_freq must be at least 0"),
        (lambda f: f["samples/kept_layer"].__setitem__(0, 77), "kept_layer names a layer that"),
        (lambda f: f["samples/kept_head"].__setitem__(0, 77), "kept_head names a head that"),
        (lambda f: label(f, "lag", f["lag"][...] * 1000), "coordinate lag must lie from 0 to 39"),
        (lambda f: label(f, "sample", f["sample"][...] - 1), "coordinate sample must lie from 0 to 39"),
        (lambda f: f.attrs.create("length", 99), "coordinate position must name each of the 99 tokens"),
    ],
)
def test_numbers_by_which_others_are_found_are_checked(copy, change, message):
    edit(copy, change)
    with pytest.raises(FormatError, match=message):
        open_capture(copy)


@pytest.mark.parametrize("path", ["scores/mean", "rows/entropy", "vectors/key_norm", "scores/replicate_mean"])
@pytest.mark.parametrize("place", [0, 2])
def test_a_layer_full_of_nan_is_named(copy, path, place):
    def empty(file):
        axis = VARIABLES[path].dims.index("layer")
        file[path][(slice(None),) * axis + (place,)] = np.nan

    edit(copy, empty)
    with open_capture(copy) as capture:
        whole = f"{path} holds nothing but NaN in layer {place}"
        for read in (lambda: capture.values(path), lambda: capture[path].load()):
            with pytest.raises(FormatError, match=whole):
                read()
        assert capture.values(path, layer=1).size  # another layer can be read


def test_one_number_in_a_layer_is_enough(copy):
    def empty(file):
        kept = file["rows/entropy"][...]
        file["rows/entropy"][:, 1] = np.nan
        file["rows/entropy"][0, 1, -1, -1] = kept[0, 1, -1, -1]
        file["rows/entropy"][1, 1, -1, -1] = kept[1, 1, -1, -1]

    edit(copy, empty)
    with open_capture(copy) as capture:
        assert np.isfinite(capture.values("rows/entropy")[:, 1]).sum() == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda unit: unit["rows/entropy"].fill(np.nan), "rows/entropy holds nothing but NaN"),
        (lambda unit: unit["scores/sum"].fill(np.nan), "scores/sum holds nothing but NaN"),
        (lambda unit: unit["vectors/key_norm"].__setitem__((0, 0, 0), np.inf), "key_norm holds an infinite"),
    ],
)
def test_a_layer_that_holds_nothing_or_infinity_is_not_written(tmp_path, change, message):
    header = make_header()
    unit = make_layer(header, 0, 1)
    change(unit)
    with CaptureWriter.create(tmp_path / "run.h5", header, make_attributes()) as writer:
        with pytest.raises(CaptureError, match=f"layer 1 of sequence 0 is not saved: .*{message}"):
            writer.write_layer(0, 1, unit)
        assert not writer.has_layer(0, 1)


def test_geometry_that_contradicts_itself_is_refused(copy):
    def break_channels(file):
        file["rope/channels"][...] = 99

    edit(copy, break_channels)
    with open_capture(copy) as capture, pytest.raises(FormatError, match="geometry in rope/ cannot be used"):
        capture.spec()

"""What a writer refuses, what it keeps, and what the finished file holds."""

import errno
import os
import stat

import h5py
import numpy as np
import pytest

from ropediag.errors import CaptureError, FormatError
from ropediag.schema import VARIABLES, VERSION
from ropediag.store import CaptureWriter, open_capture
from ropediag.store.pool import LayerPool
from tests.store.synthetic import (
    LENGTH,
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


def test_every_array_comes_back_where_it_belongs(path, header):
    write_capture(path)
    with open_capture(path) as capture:
        for name, values in header.items():
            np.testing.assert_array_equal(capture.values(name), values)
        for sequence in (0, 1):
            for name, values in make_loss(sequence).items():
                np.testing.assert_array_equal(capture.values(name)[sequence], values)
            for place, layer in enumerate(header["layer"].tolist()):
                unit = make_layer(header, sequence, layer)
                for variable in VARIABLES:
                    if variable.path in unit and "kept" not in variable.dims:
                        found = capture[variable.path].isel(sequence=sequence, layer=place).values
                        np.testing.assert_array_equal(found, unit[variable.path], err_msg=variable.path)
        evaluated = {
            variable.path
            for variable in VARIABLES
            if variable.group in ("recall", "ablation", "attribution", "training")
        }
        assert set(capture.variables) == {variable.path for variable in VARIABLES} - evaluated
        assert capture.attrs["seconds"] == 1.5
        assert capture.status == "complete"


def test_pooled_variables_are_those_of_the_pool(path, header):
    write_capture(path)
    with open_capture(path) as capture:
        for place, layer in enumerate(header["layer"].tolist()):
            pool = LayerPool(2)
            for sequence in (0, 1):
                pool.add(sequence, make_layer(header, sequence, layer))
            for name, values in pool.results(header["lag"], header["coarse_lag"]).items():
                found = capture[name].isel(layer=place).values
                np.testing.assert_array_equal(found, values.astype(found.dtype), err_msg=name)


def test_kept_heads_land_on_their_own_place(path, header):
    write_capture(path)
    with open_capture(path) as capture:
        for sequence in (0, 1):
            for place, layer in enumerate(header["samples/kept_layer"].tolist()):
                unit = make_layer(header, sequence, layer)
                found = capture["samples/kept_key"].isel(sequence=sequence, kept=place).values
                np.testing.assert_array_equal(found, unit["samples/kept_key"][0])


def test_a_narrow_layer_is_padded_with_nan(path, header):
    with CaptureWriter.create(path, header, make_attributes()) as writer:
        writer.write_layer(0, 1, make_layer(header, 0, 1, heads=2, pairs=0))
        writer.write_layer(1, 1, make_layer(header, 1, 1, heads=2, pairs=0))
        write_units(writer, header)
        writer.finish({})
    with open_capture(path) as capture:
        assert np.isnan(capture["scores/mean"].sel(layer=1)).all()
        rest = capture["scores/rest_mean"].sel(layer=1).values
        assert np.isfinite(rest[:2, 0]).all()
        assert np.isnan(rest[2:]).all()
        minimum = capture["rows/minimum"]
        assert np.isnan(minimum.sel(layer=1)).all()
        assert np.isfinite(minimum.sel(layer=2)).all()
        assert (capture["scores/count"].sel(layer=1)[:3] > 0).all()


def test_only_what_was_captured_is_in_the_file(path, header):
    for name in [name for name in header if name.startswith(("tokens/", "samples/kept"))]:
        del header[name]
    with CaptureWriter.create(path, header, make_attributes()) as writer:
        for sequence in (0, 1):
            writer.write_loss(sequence, {"loss/nll": make_loss(sequence)["loss/nll"]})
            for layer in header["layer"].tolist():
                unit = make_layer({**header, "samples/kept_layer": np.array([])}, sequence, layer)
                writer.write_layer(sequence, layer, {name: unit[name] for name in unit if "kept" not in name})
        writer.finish({})
    with open_capture(path) as capture:
        assert "tokens" not in capture
        assert "loss/nll" in capture
        assert "loss/nll_windowed" not in capture
        assert "samples/kept_query" not in capture
        with pytest.raises(FormatError, match="holds no loss/nll_windowed"):
            capture["loss/nll_windowed"]


def test_large_arrays_are_chunked_filtered_and_labelled(path):
    write_capture(path, sequences=8, heads=8, pairs=32)
    with h5py.File(path) as file:
        assert file.attrs["Conventions"] == f"ropediag-{VERSION}"
        mean = file["scores/mean"]
        assert (mean.compression, mean.compression_opts, mean.shuffle, mean.fletcher32) == (
            "gzip",
            1,
            True,
            True,
        )
        assert mean.chunks[0] == 1
        assert mean.chunks[2:] == mean.shape[2:]
        assert [axis[0] for axis in mean.dims] == [file[n] for n in ("layer", "query_head", "pair", "lag")]
        assert mean.attrs["units"] == "logit"
        assert mean.attrs["method"] == "exact"
        assert np.isnan(mean.attrs["_FillValue"])
        assert file["scores/lag"] == file["lag"]
        assert file["replicate"].shape == (8,)

        def check(name, item):
            if isinstance(item, h5py.Dataset) and item.dtype != object:
                assert item.fletcher32, name
                assert item.dtype.kind in "if", name
                assert np.prod(item.chunks) * item.dtype.itemsize <= 2**20, name

        file.visititems(check)


def test_names_and_shapes_that_do_not_fit_are_refused(path, header):
    attributes = make_attributes()
    for change, message in [
        ({"rope/theta": np.ones(3)}, "no such variable"),
        ({"scores/mean": np.ones(3)}, "pooled over sequences"),
        ({"rows/entropy": np.ones(3)}, "write_layer"),
        ({"loss/nll": np.ones(3)}, "write_loss"),
        ({"replicate": np.arange(3)}, "known at the start|cannot hold"),
        ({"rope/inv_freq": np.ones((3, 4))}, "must have the shape"),
        ({"rope/channels": np.ones((3, 3, 2))}, "must be of dtype int32"),
        ({"layer": np.array([0, 0, 1])}, "must not repeat"),
        ({"layer": np.array([])}, "at least one"),
        ({"lag": np.arange(26)[::-1]}, "must not repeat or fall"),
        ({"coarse_lag": np.array([0, 17])}, "must be an edge of lag"),
        ({"pair": np.ones((2, 2))}, "must be a list"),
    ]:
        with pytest.raises(CaptureError, match=message):
            CaptureWriter.create(path, {**header, **change}, attributes)
    for change, message in [
        ({"flavour": "x"}, "no attribute 'flavour'"),
        ({"length": "40"}, "must be a number"),
        ({"model": 3}, "must be text"),
        ({"kind": "film"}, "kind must be one of"),
    ]:
        with pytest.raises(CaptureError, match=message):
            CaptureWriter.create(path, header, make_attributes(**change))
    assert list(path.parent.iterdir()) == []


def test_units_that_do_not_fit_are_refused(path, header):
    unit = make_layer(header, 0, 0)
    single = unit["scores/sum"].astype("f4")
    with CaptureWriter.create(path, header, make_attributes()) as writer:
        for change, message in [
            ({"rows/entropy": np.zeros((5, 3))}, "must have the shape"),
            ({"scores/sum": single}, "must be of dtype float64"),
            ({"loss/nll": np.zeros(LENGTH)}, "write_loss"),
            ({"rope/inv_freq": np.zeros(3)}, "belongs into the header"),
            ({"samples/kept_query": np.zeros((2, LENGTH, 8))}, "must have the shape"),
        ]:
            with pytest.raises(CaptureError, match=message):
                writer.write_layer(0, 0, {**unit, **change})
        with pytest.raises(CaptureError, match="together"):
            writer.write_layer(0, 0, {"scores/sum": unit["scores/sum"]})
        with pytest.raises(CaptureError, match="at least one array"):
            writer.write_layer(0, 0, {})
        for place in [(2, 0), (0, 3)]:
            with pytest.raises(CaptureError, match="has no"):
                writer.write_layer(*place, unit)
        assert not writer.has_layer(0, 0)


def test_a_damaged_unit_is_found_before_the_folder_goes(path, header):
    with CaptureWriter.create(path, header, make_attributes()) as writer:
        write_units(writer, header)
        unit = path.with_name("run.h5.partial") / "layer-0001-0002.h5"
        image = bytearray(unit.read_bytes())
        image[len(image) // 2] ^= 1
        unit.write_bytes(image)
        with pytest.raises(FormatError, match=r"layer-0001-0002\.h5 is damaged.*--resume"):
            writer.finish({})
        assert not path.exists()
        unit.unlink()
        writer.write_layer(1, 2, make_layer(header, 1, 2))
        writer.finish({})


def test_consolidation_asks_for_room_first(path, header, monkeypatch):
    with CaptureWriter.create(path, header, make_attributes()) as writer:
        write_units(writer, header)
        monkeypatch.setattr("ropediag.store.consolidate.free_space", lambda _: 2**19)
        with pytest.raises(CaptureError, match=r"may need 1\.\d MiB, 0\.5 MiB are free.*--resume"):
            writer.finish({})
        monkeypatch.undo()
        writer.finish({})


def test_a_disk_that_fills_up_at_any_write_ends_in_a_clean_error(path, header, monkeypatch):
    write = os.write
    left = 0

    def full_after_some(descriptor, data):
        nonlocal left
        if stat.S_ISREG(os.fstat(descriptor).st_mode) and left <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        left -= len(data)
        return write(descriptor, data)

    with CaptureWriter.create(path, header, make_attributes()) as writer:
        write_units(writer, header)
        folder = set(os.listdir(path.with_name("run.h5.partial")))
        monkeypatch.setattr(os, "write", full_after_some)
        for size in range(0, 280_000, 55_000):
            left = size
            with pytest.raises(CaptureError, match="no space left to write"):
                writer.finish({})
            assert set(os.listdir(path.with_name("run.h5.partial"))) == folder
            assert not path.exists()
        left = 0
        with pytest.raises(
            CaptureError, match=r"layer 0 of sequence 0 is not saved.*8 units.*kept.*--resume"
        ):
            writer.write_layer(0, 0, make_layer(header, 0, 0))
        monkeypatch.undo()
        assert set(os.listdir(path.with_name("run.h5.partial"))) == folder
        writer.finish({})
    with open_capture(path) as capture:
        assert np.isfinite(capture["scores/mean"].sel(lag=0)).all()

"""Opening captures, finished and growing, with our reader and other people's; refusing what is bad."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from ropediag.errors import CaptureError, ConfigError, FormatError
from ropediag.schema import VARIABLES
from ropediag.store import CaptureWriter, open_capture
from tests.store.synthetic import (
    make_attributes,
    make_header,
    make_layer,
    make_loss,
    write_capture,
    write_units,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return write_capture(tmp_path_factory.mktemp("finished") / "run.h5")


@pytest.fixture
def growing(tmp_path):
    header = make_header()
    with CaptureWriter.create(tmp_path / "run.h5", header, make_attributes()) as writer:
        for place in [(0, 0), (0, 1), (0, 2), (1, 1)]:
            writer.write_layer(*place, make_layer(header, *place))
        writer.write_loss(0, make_loss(0))
    return tmp_path / "run.h5"


def test_a_capture_gives_labelled_arrays_that_load_when_used(finished):
    with open_capture(finished) as capture:
        mean = capture["scores/mean"]
        assert mean.dims == ("layer", "query_head", "pair", "lag")
        assert mean.attrs["units"] == "logit"
        assert not mean.variable._in_memory
        assert (
            mean.sel(layer=2, query_head=1, pair=0, lag=4).item() == capture.values("scores/mean")[2, 1, 0, 4]
        )
        assert capture.scores.identical(capture["scores"])
        assert list(capture.tokens["piece"].values) == ["a", " é", "\n"]
        assert "scores" in capture
        assert "scores/mean" in capture
        assert "scores/median" not in capture
        assert "scores" in dir(capture)
        assert "partial: before_mean" in repr(capture)
        np.testing.assert_array_equal(capture.values("lag"), capture.scores["lag"])


def test_a_part_is_named_by_its_coordinates(tmp_path):
    with open_capture(write_capture(tmp_path / "run.h5", layers=(3, 7, 20))) as capture:
        whole = capture.values("scores/lag_mean_min")
        part = capture.values("scores/lag_mean_min", layer=20, pair=1)
        np.testing.assert_array_equal(part, whole[:, 2, :, 1])
        assert capture.place("layer", 7) == 1
        with pytest.raises(ConfigError, match=r"holds no layer 4: it holds 3, 7, 20\."):
            capture.values("scores/mean", layer=4)
        with pytest.raises(ConfigError, match="scores/count has no axis pair: it has layer, lag"):
            capture.values("scores/count", pair=0)
        with pytest.raises(ConfigError, match="holds no position 40: it holds 40 of them, 0 to 39"):
            capture.values("loss/nll", position=40)


@pytest.mark.parametrize(
    "key",
    [
        {"lag": slice(None, None, -1)},
        {"lag": [5, 1, 1], "pair": [2, 0]},
        {"query_head": -1, "lag": slice(3, 20, 4)},
        {"layer": [], "pair": 0},
        {"lag": np.arange(26) % 3 == 0, "layer": slice(1, None)},
        {"layer": slice(2, 2)},
    ],
)
def test_any_selection_equals_the_same_selection_in_memory(finished, key):
    with open_capture(finished) as capture:
        lazy, whole = capture["scores/mean"], capture["scores/mean"].load()
        xr.testing.assert_identical(lazy.isel(key).load(), whole.isel(key))


def test_what_is_not_there_is_explained(finished):
    capture = open_capture(finished)
    with pytest.raises(FormatError, match=r"the format knows no 'scores/median'.*scores/mean"):
        capture["scores/median"]
    with pytest.raises(AttributeError, match="no attribute 'score'"):
        _ = capture.score
    mean = capture["scores/mean"]
    capture.close()
    with pytest.raises(CaptureError, match="is closed"):
        mean.load()
    with pytest.raises(CaptureError, match="is closed"):
        capture["scores/mean"]
    for path in (finished.parent / "none.h5", finished.parent / "none.h5.partial"):
        with pytest.raises(FormatError, match="no such capture"):
            open_capture(path)
    with pytest.raises(FormatError, match="is a folder"):
        open_capture(finished.parent)


def test_the_geometry_comes_back_as_a_spec(finished):
    header = make_header()
    with open_capture(finished) as capture:
        spec = capture.spec()
    np.testing.assert_array_equal(spec.inv_freq, header["rope/inv_freq"])
    np.testing.assert_array_equal(spec.channels, header["rope/channels"])
    assert spec.base == 10_000.0
    assert spec.layout == "half"
    assert spec.head_dim.tolist() == [8, 8, 8]


@pytest.mark.parametrize("suffix", ["", ".partial"])
def test_a_growing_capture_shows_what_there_is(growing, suffix):
    with open_capture(growing.with_name(growing.name + suffix)) as capture:
        assert capture.status == "partial"
        assert capture.missing_layers == ((1, 0), (1, 2))
        assert capture.missing_losses == (1,)
        assert "2 layers missing" in repr(capture)
        minimum = capture["rows/minimum"]
        assert np.isfinite(minimum.sel(sequence=1, layer=1)).all()
        assert np.isnan(minimum.sel(sequence=1, layer=[0, 2])).all()
        assert np.isnan(capture["loss/nll"].sel(sequence=1)).all()
        counts = capture["scores/replicate_count"]
        assert counts.sel(layer=0)[8:].sum() == 0
        assert counts.sel(layer=1)[8:].sum() > 0
        assert np.isfinite(capture["scores/mean"].sel(lag=0)).all()


def test_a_growing_capture_of_everything_equals_the_finished_one(finished, tmp_path):
    header = make_header()
    with CaptureWriter.create(tmp_path / "run.h5", header, make_attributes()) as writer:
        write_units(writer, header)
    with open_capture(tmp_path / "run.h5") as partial, open_capture(finished) as whole:
        for group in whole.groups:
            xr.testing.assert_identical(partial[group].load(), whole[group].load())


def test_a_capture_that_has_only_begun_can_be_opened(tmp_path):
    CaptureWriter.create(tmp_path / "run.h5", make_header(), make_attributes()).close()
    with open_capture(tmp_path / "run.h5") as capture:
        assert capture.groups == ("rope", "tokens", "rows", "vectors", "samples")
        assert len(capture.missing_layers) == 6
        assert capture.missing_losses == ()
        assert capture.spec().layout == "half"


def test_a_capture_finished_while_its_folder_is_read_opens_all_the_same(growing, finished, monkeypatch):
    def finish_meanwhile(folder):
        shutil.copy(finished, folder.final)
        shutil.rmtree(folder.path)
        raise FormatError("gone")

    monkeypatch.setattr("ropediag.store.reader.make_plan", finish_meanwhile)
    with open_capture(growing.with_name("run.h5.partial")) as capture:
        assert capture.status == "complete"


def test_reading_imports_neither_torch_nor_early_xarray(finished):
    code = (
        "import sys; from ropediag.store import open_capture; capture = open_capture(sys.argv[1]);"
        "capture.spec(); capture.values('scores/mean'); repr(capture);"
        "assert 'xarray' not in sys.modules; capture['scores/mean'].values;"
        "assert not {'torch', 'transformers', 'plotly', 'dash'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, finished], check=True, cwd=ROOT)


def test_opening_is_quick(finished):
    took = []
    for _ in range(5):
        start = time.process_time()
        with open_capture(finished) as capture:
            capture["scores/mean"]
        took.append(time.process_time() - start)
    assert min(took) < 0.3


@pytest.mark.parametrize("engine", ["h5netcdf", "netcdf4"])
def test_plain_xarray_opens_it_with_labels(finished, engine):
    if engine == "netcdf4":
        pytest.importorskip("netCDF4")
    with xr.open_datatree(finished, engine=engine) as tree, open_capture(finished) as capture:
        assert set(capture.groups) == set(tree.children)
        for variable in VARIABLES:
            if variable.group in (
                "recall",
                "ablation",
                "attribution",
                "training",
            ):  # files of their own kind, see test_whole
                continue
            found = tree[variable.path]
            assert found.dims == variable.dims
            np.testing.assert_array_equal(found.values, capture.values(variable.path), err_msg=variable.path)
    with xr.open_dataset(finished, group="scores", engine=engine) as scores:
        assert scores["mean"].sel(lag=16, layer=1).dims == ("query_head", "pair")
        assert scores["lag"].attrs["units"] == "tokens"


def test_ncdump_shows_names_and_units(finished):
    if shutil.which("ncdump") is None:
        if os.environ.get("ROPEDIAG_REQUIRE_TOOLS") == "1":
            pytest.fail("ncdump is missing; install netcdf-bin")
        pytest.skip("ncdump is missing; install netcdf-bin")
    shown = subprocess.run(["ncdump", "-h", finished], check=True, capture_output=True, text=True).stdout
    assert "float mean(layer, query_head, pair, lag)" in shown
    assert 'string mean:units = "logit"' in shown
    data = subprocess.run(
        ["ncdump", "-v", "rope/inv_freq", finished], check=True, capture_output=True, text=True
    )
    assert "0.0464158" in data.stdout

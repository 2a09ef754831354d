"""Tables of studies are told from captures, summed up, and read with truth values."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from ropediag.errors import FormatError
from ropediag.store import is_study, open_study, summarize, summarize_study
from tests.store.synthetic import write_capture

RESULTS = Path(__file__).parents[2] / "studies" / "results"
TABLES = ("scaling-law", "base-for-length", "critical-dimension")


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_what_xarray_reads_with_its_flags_as_truth_values(name):
    path = RESULTS / f"{name}.h5"
    assert is_study(path)
    table = open_study(path)
    with xr.open_dataset(path, engine="h5netcdf") as raw:
        np.testing.assert_array_equal(table.measured, raw.measured)
        np.testing.assert_array_equal(table.past_critical_base, raw.past_critical_base == 1)
    assert table.past_critical_base.dtype == table.tuned.dtype == bool
    summary = summarize_study(path)
    assert summary.attributes["kind"] == "study"
    assert summary.sizes == {"model": table.sizes["model"]}
    assert "measured" in summary.variables


def test_captures_other_tables_and_broken_files_are_no_studies(tmp_path):
    capture = write_capture(tmp_path / "a.h5")
    broken = tmp_path / "broken.h5"
    broken.write_bytes((RESULTS / "scaling-law.h5").read_bytes()[:3000])
    for path in (capture, RESULTS / "extreme-lengths.h5", broken, tmp_path / "none.h5"):
        assert not is_study(path)
        with pytest.raises(FormatError):
            open_study(path)
    with pytest.raises(FormatError, match="no table of a study"):
        summarize_study(capture)
    with pytest.raises(FormatError, match="is the table of a study, not a capture"):
        summarize(RESULTS / "scaling-law.h5")


def test_a_table_without_limits_or_with_columns_of_other_lengths_is_refused(tmp_path):
    table = open_study(RESULTS / "base-for-length.h5")
    flags = {name: table[name].astype("i1") for name in ("tuned", "past_critical_base")}
    lacking, uneven = tmp_path / "lacking.h5", tmp_path / "uneven.h5"
    table.assign(flags).drop_vars("measured").to_netcdf(lacking, engine="h5netcdf")
    with pytest.raises(FormatError, match="lacks measured"):
        open_study(lacking)
    table.assign(flags | {"base": ("other", [1.0, 2.0])}).to_netcdf(uneven, engine="h5netcdf")
    with pytest.raises(FormatError, match="one entry a model"):
        open_study(uneven)

"""Every diagnostic on a ragged model and an unfinished capture: NaN where nothing is, numbers elsewhere."""

import numpy as np
import pytest

from ropediag import open_capture
from ropediag.analysis.diagnostic import list_diagnostics
from ropediag.analysis.range_check import HALF
from tests.analysis.ragged import COMING, FULL, LAYERS, NARROW, UNROTATED, write_ragged

FOUND = list_diagnostics()


@pytest.fixture(scope="module", params=sorted(FOUND))
def measured(request, tmp_path_factory):
    sequences = 2 * HALF if request.param == "range_check" else 2
    path = write_ragged(tmp_path_factory.mktemp("ragged") / "run.h5", sequences)
    with open_capture(path) as capture:
        return FOUND[request.param], FOUND[request.param](capture).load()


def test_layers_keep_their_numbers(measured):
    _, found = measured
    if "layer" in found.dims:
        assert found.layer.values.tolist() == list(LAYERS)


def test_what_a_layer_lacks_is_unknown(measured):
    asked, found = measured
    for name, array in found.data_vars.items():
        if "layer" not in array.dims:
            continue
        if array.dtype == bool:  # which cannot be unknown
            array = array.where(array)
        narrow = array.isel(layer=NARROW)
        if "pair" in array.dims:
            assert array.isel(layer=UNROTATED).isnull().all(), name
            assert narrow.sel(pair=slice(2, None)).isnull().all(), name
        if "query_head" in array.dims:
            assert narrow.sel(query_head=slice(2, None)).isnull().all(), name
        if not asked.geometry and {"query_head", "kv_head"} & set(array.dims):
            assert array.isel(layer=COMING).isnull().all(), name


def test_what_is_there_has_numbers(measured):
    """In what it shows; of onsets, which random numbers may not have, in any variable."""
    asked, found = measured
    names = list(found) if asked.name == "onset_pair" else [asked.shows]
    arrays = [found[name] for name in names if "layer" in found[name].dims]
    for place in (FULL, NARROW) if arrays else ():
        assert any(np.isfinite(array.isel(layer=place).astype(float)).any() for array in arrays), place

"""Every diagnostic, found by scanning: labels, axes, a figure. A new file is tested by being there."""

import numpy as np
import pytest

from ropediag import open_capture
from ropediag.analysis.diagnostic import Diagnostic, _find_in, diagnostic, list_diagnostics
from ropediag.errors import ConfigError
from ropediag.plots.diagnostic import plot_diagnostic
from ropediag.schema import DIMENSIONS
from tests.analysis.captures import EXAMPLE

FOUND = list_diagnostics()
AXES = {dimension.name for dimension in DIMENSIONS}


@pytest.fixture(scope="module", params=sorted(FOUND))
def measured(request):
    with open_capture(EXAMPLE) as capture:
        return FOUND[request.param], FOUND[request.param](capture).load()


def test_it_says_what_it_asks_and_what_its_numbers_mean(measured):
    asked, found = measured
    for name in ("question", "high", "interval", "source"):
        assert len(getattr(asked, name)) > 8
        assert found.attrs[name] == getattr(asked, name)
    assert asked.question.endswith("?")
    assert found.attrs["diagnostic"] == asked.name
    assert found.attrs["model"] == "demo"


def test_every_variable_has_units_and_a_meaning(measured):
    _, found = measured
    for name, array in found.data_vars.items():
        assert array.attrs.get("units"), name
        assert len(array.attrs.get("long_name", "")) > 3, name
        assert np.isfinite(array.astype(float)).any(), name


def test_shared_axes_carry_their_coordinates(measured):
    _, found = measured
    for dim in found.dims:
        assert dim in found.coords, dim
        if dim in AXES:
            assert found[dim].attrs.get("long_name"), dim


def test_a_figure_draws_it(measured):
    asked, found = measured
    figure = plot_diagnostic(found)
    shown = found[asked.shows]
    drawn = figure.data[0]
    values = np.asarray(drawn.z if drawn.type == "heatmap" else drawn.y, dtype=float)
    assert np.isfinite(values).any()
    assert values.size == shown.size
    if drawn.type == "heatmap":
        assert asked.shows.split("_")[0] in drawn.colorbar.title.text
    else:
        assert shown.attrs["long_name"].split()[0] in drawn.name


def test_a_second_diagnostic_in_a_file_is_refused(monkeypatch):
    import ropediag.analysis.pair_norms as home

    again = Diagnostic(**(vars(FOUND["pair_norms"]) | {"shows": "query_norm"}))
    monkeypatch.setattr(home, "measure_again", again, raising=False)
    _find_in.cache_clear()
    with pytest.raises(ConfigError, match="two diagnostics"):
        list_diagnostics()


def test_a_geometry_needs_a_length_and_a_capture_needs_a_capture():
    with open_capture(EXAMPLE) as capture:
        spec = capture.spec()
    labels = {"question": "?", "high": "", "interval": "", "source": "", "shows": "x"}
    asked = diagnostic(**labels, geometry=True)(lambda spec, length: None)
    with pytest.raises(ConfigError, match="needs a length"):
        asked(spec)
    with pytest.raises(ConfigError, match="needs a capture"):
        FOUND["pair_norms"](spec, 100)

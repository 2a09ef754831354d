"""Every diagnostic, found by scanning: labels, axes, a figure. A new file is tested by being there."""

import inspect
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

from ropediag import open_capture
from ropediag.analysis.diagnostic import (
    Diagnostic,
    _find_in,
    _load_others,
    _marked,
    diagnostic,
    list_diagnostics,
)
from ropediag.analysis.drift import measure_drift
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
    monkeypatch.setattr(home, "measure_again", SimpleNamespace(diagnostic=again), raising=False)
    _find_in.cache_clear()
    with pytest.raises(ConfigError, match="two diagnostics"):
        list_diagnostics()


def test_a_geometry_needs_a_length_and_a_capture_needs_a_capture():
    with open_capture(EXAMPLE) as capture:
        spec = capture.spec()
    asked = Diagnostic(**(vars(FOUND["pair_norms"]) | {"geometry": True}))
    with pytest.raises(ConfigError, match="needs a length"):
        asked(spec)
    with pytest.raises(ConfigError, match="needs a capture"):
        FOUND["pair_norms"](spec, 100)


LABELS = {"question": "How many?", "high": "more", "interval": "none", "source": "a test", "shows": "count"}


@pytest.fixture
def outside():
    """Forget what a test marks, and what entry points it finds."""
    known = dict(_marked)
    _load_others.cache_clear()
    yield
    _marked.clear()
    _marked.update(known)
    _load_others.cache_clear()


def measure_bins(capture):
    """Count the lag bins."""
    count = xr.DataArray(float(capture.sizes["lag"]), attrs={"units": "1", "long_name": "lag bins"})
    return xr.Dataset({"count": count})


def test_a_function_keeps_its_signature_and_its_docstring():
    assert list(inspect.signature(measure_drift).parameters) == ["capture"]
    assert measure_drift.__doc__.startswith("Find the pairs that drift")
    assert measure_drift.diagnostic is FOUND["drift"]


def test_one_that_is_marked_outside_the_package_is_found(outside):
    marked = diagnostic(**LABELS)(measure_bins)
    found = list_diagnostics()["bins"]
    with open_capture(EXAMPLE) as capture:
        for ask in (marked, found):
            assert ask(capture)["count"] == capture.sizes["lag"]
            assert ask(capture).attrs["question"] == "How many?"
    assert diagnostic(**LABELS)(measure_bins).diagnostic is list_diagnostics()["bins"]  # a cell run again


@pytest.mark.parametrize(
    ("measure", "fault"),
    [
        (lambda capture: 1 / 0, r"the diagnostic .* of tests.*failed: ZeroDivisionError: division by zero"),
        (lambda capture: 3, r"the diagnostic .* of tests.*returned a int: it must return an xarray Dataset"),
    ],
)
def test_what_one_from_outside_does_wrong_is_told_with_its_module(outside, measure, fault):
    ask = diagnostic(**LABELS)(measure)
    with open_capture(EXAMPLE) as capture, pytest.raises(ConfigError, match=fault):
        ask(capture)


def test_a_name_that_is_taken_is_left_out_with_a_warning(outside):
    def measure_drift(capture):
        return None

    diagnostic(**LABELS)(measure_drift)
    with pytest.warns(UserWarning, match="the diagnostic drift of tests.* is left out: ropediag has one"):
        found = list_diagnostics()
    assert found["drift"] is FOUND["drift"]


def test_two_modules_with_one_name_keep_the_first(outside):
    first = diagnostic(**LABELS)(measure_bins)

    def measure_other(capture):
        return None

    measure_other.__module__, measure_other.__name__ = "elsewhere", "measure_bins"
    with pytest.warns(UserWarning, match="the diagnostic bins of elsewhere is left out: tests"):
        diagnostic(**LABELS)(measure_other)
    assert list_diagnostics()["bins"] is first.diagnostic


def write_package(folder, name, module, target):
    """A package as pip installs it, with an entry point."""
    (folder / f"{name}.py").write_text(module)
    info = folder / f"{name}-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[ropediag.diagnostics]\n{name} = {name}:{target}\n")


def test_another_package_brings_one_and_a_broken_one_is_left_out(outside, tmp_path, monkeypatch):
    module = (
        "from ropediag.analysis.diagnostic import diagnostic\n"
        f"@diagnostic(**{LABELS!r})\n"
        "def measure_lent(capture):\n    return capture['scores'].dataset[['pair_count']]\n"
    )
    write_package(tmp_path, "lender", module, "measure_lent")
    write_package(tmp_path, "broken", "import nowhere\n", "measure_nothing")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.warns(
        UserWarning, match="broken = broken:measure_nothing is left out.*No module named 'nowhere'"
    ):
        found = list_diagnostics()
    assert found["lent"].question == "How many?"
    assert set(found) == {*FOUND, "lent"}
    sys.modules.pop("lender")

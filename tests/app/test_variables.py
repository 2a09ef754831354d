"""The variables that pages offer: arrays of numbers that all sides hold, each with a name of its own."""

import numpy as np
import pytest
import xarray as xr

from ropediag import open_capture
from ropediag.analysis.diagnostic import list_diagnostics
from ropediag.app.pages._variables import list_variables
from tests.analysis.captures import EXAMPLE


def make_measured(names: str, **text: list[str]) -> xr.Dataset:
    arrays = {name: ("pair", np.zeros(3), {"long_name": "meaning"}) for name in names}
    return xr.Dataset({**arrays, "alone": 1.0, **{name: ("pair", own) for name, own in text.items()}},
                      attrs={"shows": "c"})  # fmt: skip


def test_only_arrays_of_numbers_that_all_hold_are_offered_the_shown_one_first() -> None:
    first, second = make_measured("abcd"), make_measured("bcx", a=["p", "q", "r"])
    assert list_variables(first) == {name: f"{name}: meaning" for name in "cabd"}
    assert list(list_variables(second, first)) == ["c", "b"]


@pytest.mark.parametrize("name", sorted(list_diagnostics()))
def test_no_two_variables_of_a_diagnostic_are_called_the_same(name: str) -> None:
    with open_capture(EXAMPLE) as capture:
        called = list_variables(list_diagnostics()[name](capture))
    assert len(set(called.values())) == len(called)
    assert next(iter(called)) == list_diagnostics()[name].shows

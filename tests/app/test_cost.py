"""The page of costs: what an attribution of the folder found, and what it says without any."""

import shutil

import numpy as np
import pytest

from ropediag import open_capture
from ropediag.analysis.attribution import attribution_path, measure_attribution, word_attribution
from ropediag.attribution import AttributeConfig, attribute_checkpoint
from tests.analysis.captures import EXAMPLE
from tests.app.browsing import read_trace, wait_drawn


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("cost")
    shutil.copy(EXAMPLE, path / "demo.h5")
    out = attribution_path(path / "demo.h5")
    attribute_checkpoint(AttributeConfig("demo", 160, sequences=1, points=5, out=out))
    return path


def test_the_figures_are_those_of_the_file(folder, chromium, serve) -> None:
    tab, address = chromium.new_page(), serve(folder)
    with open_capture(folder / "demo-attribution.h5") as file:
        table = measure_attribution(file)
    tab.goto(address + "/cost")
    wait_drawn(tab, "cost-waterfall", "cost-by-head")
    bars = read_trace(tab, "cost-waterfall", 0)
    assert bars["y"][-1] == pytest.approx(float(table.nll))
    cells = read_trace(tab, "cost-by-head", 0)
    np.testing.assert_allclose(np.array(cells["z"], dtype=float), table.by_head, rtol=1e-5)
    tab.get_by_text(word_attribution(table)[0]).wait_for()
    tab.goto(address + "/")
    tab.get_by_text("Cause:").wait_for()
    tab.close()


def test_a_folder_without_attributions_says_how_to_make_one(folder, tmp_path, chromium, serve) -> None:
    shutil.copy(EXAMPLE, tmp_path)
    tab = chromium.new_page()
    tab.goto(serve(tmp_path) + "/cost")
    tab.get_by_text("This folder holds no attribution yet").wait_for()
    shutil.copy(folder / "demo-attribution.h5", tmp_path)  # one that is made meanwhile is shown
    wait_drawn(tab, "cost-waterfall")
    assert tab.get_by_text("This folder holds no attribution yet").count() == 0
    tab.close()

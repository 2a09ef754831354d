"""Every figure goes out as PNG, SVG and CSV, and the CSV holds the numbers of the analysis."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ropediag import open_capture
from ropediag.analysis.drift import measure_drift
from tests.app.browsing import wait_drawn
from tests.app.conftest import CAPTURES


def download(page, panel: str, label: str) -> bytes:
    section = page.locator(f"#panel-{panel}")
    with page.expect_download() as caught:
        section.get_by_role("button", name=label, exact=True).click()
    return Path(caught.value.path()).read_bytes()


@pytest.mark.parametrize(("label", "start"), [("PNG", b"\x89PNG"), ("SVG", b"<svg")])
def test_a_figure_goes_out_as_a_picture(page, label: str, start: bytes) -> None:
    page.goto("/?capture=example-8192.h5")
    wait_drawn(page, "drift-map")
    page.wait_for_timeout(500)
    assert download(page, "drift-map", label).startswith(start)


def test_the_csv_holds_the_numbers_of_the_analysis(page, tmp_path: Path) -> None:
    page.goto("/?capture=example-8192.h5")
    wait_drawn(page, "drift-map")
    (tmp_path / "drift.csv").write_bytes(download(page, "drift-map", "CSV"))
    table = pd.read_csv(tmp_path / "drift.csv").set_index(["layer", "query_head", "pair"])
    with open_capture(CAPTURES / "example-8192.h5") as capture:
        drift = measure_drift(capture).drift
    assert len(table) == drift.size
    np.testing.assert_allclose(table.drift.loc[(1, 1, 14)], float(drift.sel(layer=1, query_head=1, pair=14)))

"""Curves over the trained reach: the shares of the files, and which files have none."""

import json
import math

import numpy as np
import pytest

from ropediag import open_capture
from ropediag.analysis.reach_curves import measure_reach_curves
from ropediag.analysis.repair_curves import measure_repair_curves
from ropediag.analysis.repairs import measure_repairs
from ropediag.errors import ConfigError, FormatError
from ropediag.store import write_whole
from tests.analysis.test_repairs import LENGTH, make_figures, write_ablation
from tests.store.synthetic import make_attributes

AT = (1.0, 0.5, 1.5)


def make_curve(at=AT, **changes):
    """Figures of an ablation at several multiples of the reach, another share at each."""
    repairs = [
        repair
        | {"at": one, "repaired": {"value": value, "low": value - 0.1, "high": value + 0.2, "count": 2}}
        | {"random": [0.1 * one, 0.3 * one]}
        for one in at
        for repair, value in zip(make_figures()["repairs"], (0.9, 0.1 + one / 2), strict=True)
    ]
    settings = {"kind": "fold", "limit": None, "at": list(at), "smallest_reach": 12.0, "largest_reach": 40.5}
    return make_figures(repairs=repairs, **settings) | changes


def test_a_curve_holds_the_share_at_every_multiple_up_to_the_whole_length(tmp_path):
    paths = {
        "a": write_ablation(tmp_path / "a.h5", make_curve()),
        "b": write_ablation(tmp_path / "b.h5", make_curve((0.7, 1.0), kind="clip")),
        "c": write_ablation(tmp_path / "c.h5", make_curve((1.0,))),
        "d": write_ablation(tmp_path / "d.h5", make_figures()),
    }
    opened = {name: open_capture(path) for name, path in paths.items()}
    curves = measure_reach_curves(opened)
    for file in opened.values():
        file.close()
    assert curves.ablation.values.tolist() == ["a", "b"]
    assert curves.at.values.tolist() == [0.5, 0.7, 1.0, 1.5]
    for at in AT:
        row = curves.sel(ablation="a", at=at)
        shares = [float(row[name]) for name in ("repaired", "repaired_low", "repaired_high", "random_mean")]
        assert shares == pytest.approx([0.1 + at / 2, at / 2, 0.3 + at / 2, 0.2 * at])
    assert math.isnan(curves.repaired.sel(ablation="a", at=0.7))
    assert curves.kind.values.tolist() == ["fold", "clip"]
    assert (curves.smallest_reach[0], curves.largest_reach[0]) == (12, 40.5)
    assert all(array.attrs["units"] and array.attrs["long_name"] for array in curves.data_vars.values())


def test_tables_of_repairs_hold_what_the_first_multiple_repaired_and_name_it(tmp_path):
    with open_capture(write_ablation(tmp_path / "a.h5", make_curve())) as file:
        table = measure_repairs({"a": file})
    assert table.change.item() == "lag folded at 1 x the reach"
    assert float(table.repaired.sel(multiple=4.0).item()) == pytest.approx(0.6)
    assert table.sizes["multiple"] == 2


def test_the_loss_by_position_is_that_at_the_first_multiple(tmp_path):
    random = np.random.default_rng(0)
    runs = random.gamma(2.0, size=(4, 2, LENGTH)).astype("f4")
    loss = random.gamma(2.0, size=(2, LENGTH)).astype("f4")
    curves = []
    for name, at, kept in (("a", [1.0, 1.0, 0.5, 0.5], runs), ("b", None, runs[:2])):
        arrays = {"loss/nll": loss, "loss/nll_windowed": loss, "ablation/nll": kept}
        arrays |= {} if at is None else {"ablation/at": np.array(at)}
        axes = {"run": len(kept), "sequence": 2, "position": LENGTH}
        figures = json.dumps(make_curve((1.0, 0.5)))
        path = write_whole(
            tmp_path / f"{name}.h5",
            {axis: np.arange(size) for axis, size in axes.items()},
            arrays,
            make_attributes(kind="ablation", length=LENGTH) | {"figures": figures},
        )
        with open_capture(path) as file:
            curves.append(measure_repair_curves(file))
    for name in ("nll_changed", "nll_random"):
        np.testing.assert_array_equal(curves[0][name], curves[1][name])


def test_without_a_curve_it_is_said_how_to_make_one(tmp_path):
    with (
        open_capture(write_ablation(tmp_path / "a.h5", make_curve((1.0,)))) as file,
        pytest.raises(ConfigError, match="ropediag ablate --kind fold --at"),
    ):
        measure_reach_curves({"a": file})


MALFORMED = {
    "multiples that are text": make_curve(at=AT) | {"at": "1"},
    "a multiple without repairs": make_curve() | {"at": [1.0, 0.5, 1.5, 2.0]},
    "a repair of no multiple": make_curve() | {"at": [1.0, 0.5]},
    "a multiple twice": make_curve((1.0, 1.0)),
    "a multiple below 0": make_curve((1.0, -0.5)),
    "a multiple that is nothing": make_curve() | {"at": [None]},
    "a reach that is text": make_curve(smallest_reach="12"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_curves_are_refused_by_the_name_of_the_file(tmp_path, case):
    with (
        open_capture(write_ablation(tmp_path / "strange.h5", MALFORMED[case])) as file,
        pytest.raises(FormatError, match=r"strange\.h5: the figures of the ablation cannot be used"),
    ):
        measure_reach_curves({"strange": file})

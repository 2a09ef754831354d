"""Laws side by side: the one that limits were made with wins on the half it has not seen."""

import json
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

from ropediag.analysis.laws import LAWS, RULE_LAWS, SWING_LAWS, compare_laws, list_models
from ropediag.analysis.trained_turn import (
    fit_scale,
    predict_by_first_reach,
    predict_by_onset_stretch,
    predict_by_swing,
    predict_limits,
    split,
)
from ropediag.cli import build_app
from ropediag.errors import ConfigError
from tests.analysis.test_trained_turn import make_models, plain_periods


def make_study(models):
    """The table of a study whose captures were taken: each parent untuned, then the models."""
    parents = {one.parent: one for one in models}
    rows = [(name, one, False) for name, one in parents.items()] + [(one.name, one, True) for one in models]
    columns = {
        "parent": [one.parent for _, one, _ in rows],
        "rule": ["none" for _ in rows],
        "tuned": [tuned for *_, tuned in rows],
        "past_critical_base": [tuned for *_, tuned in rows],
        "onset_pair": [np.nan if tuned else one.onset_pair for _, one, tuned in rows],
        "seed": [0 for _ in rows],
        **{
            name: [float(getattr(one, name)) for _, one, _ in rows]
            for name in ("rotary_dim", "base", "tune_len", "pretrain_base", "train_len")
        },
        "measured": [one.measured if tuned else one.parent_limit for _, one, tuned in rows],
        "measured_low": [1.0 for _ in rows],
        "measured_high": [1.0 for _ in rows],
        "predicted": [one.predicted if tuned else 1.0 for _, one, tuned in rows],
    }
    table = xr.Dataset({name: ("model", values) for name, values in columns.items()})
    drift = [np.interp(np.arange(32), [0, 10, 11, 31], [0, 0, 0.5, 0.5]) for _ in rows]  # 0.25 at pair 10.5
    table["drift"] = (("model", "pair"), drift)
    for name, values in {
        "period": [
            plain_periods(one.rotary_dim, one.base if tuned else one.pretrain_base) for _, one, tuned in rows
        ],
        "swing": [() if tuned else one.swing for _, one, tuned in rows],
    }.items():
        table[name] = (("model", "pair"), [[*row, *[np.nan] * (32 - len(row))] for row in values])
    return table.assign_coords(model=[name for name, *_ in rows])


def test_models_come_back_from_a_table_with_the_onset_of_their_parents():
    models = make_models(1.3, noise=0.1)
    found = list_models(make_study(models))
    for one, wanted in zip(found, models, strict=True):
        assert vars(one) | {"stretch": 0, "reach": 0} == vars(wanted) | {"stretch": 0, "reach": 0}
        np.testing.assert_allclose(one.stretch, wanted.stretch)
        np.testing.assert_allclose(one.reach, wanted.reach)


def test_models_under_a_rule_that_nobody_trained_have_reaches_without_tuning():
    table = make_study(make_models(1.3))
    table["rule"] = table.rule.astype("U9")
    table.rule.values[-1], table.tuned.values[-1] = "yarn 4", False
    (one,) = list_models(table, untrained=True)
    last = make_models(1.3)[-1]
    assert (one.name, one.measured, one.swing) == (last.name, last.measured, last.swing)
    np.testing.assert_allclose(one.reach, last.reach)
    longer = make_study([replace(last, tune_len=4 * last.train_len)])
    (tuned,) = list_models(longer)
    periods = plain_periods(last.rotary_dim, last.base)
    for pair, (before, after) in enumerate(zip(last.reach, tuned.reach, strict=True)):
        reach = max(before, 4 * last.train_len)
        assert after == (pytest.approx(reach) if np.isfinite(before) and reach < periods[pair] else np.inf)


@pytest.mark.parametrize("outside", ["rule", "past_critical_base"])
def test_models_that_the_laws_do_not_speak_of_stay_out(outside):
    table = make_study(make_models(1.3))
    table[outside].values[-1] = {"rule": "yarn", "past_critical_base": False}[outside]
    assert len(list_models(table)) == len(make_models(1.3)) - 1


def test_a_table_without_captures_is_refused():
    with pytest.raises(ConfigError, match="lacks onset_pair, which captures say"):
        list_models(make_study(make_models(1.3)).drop_vars("onset_pair"))


@pytest.mark.parametrize("half", ["name", "parent"])
def test_each_law_is_fitted_on_one_half_and_judged_on_the_other(half):
    models = make_models(1.3, noise=0.02)
    found = compare_laws(models, half)
    assert found.law.values.tolist() == list(LAWS)
    first = split([getattr(one, half) for one in models])
    judged = [one for one, chosen in zip(models, first, strict=True) if not chosen]
    assert found.attrs["judged"] == len(judged) == int(found["count"][0])
    share = found.sel(law="share of a turn")
    predicted = predict_limits(judged, float(share.kappa))
    errors = np.abs(np.log([m.measured / p for m, p in zip(judged, predicted, strict=True)]))
    assert float(share["median"]) == pytest.approx(np.median(errors))
    assert float(share.kappa_low) <= float(share.kappa) <= float(share.kappa_high)
    if half == "parent":
        assert not {one.parent for one in judged} & {
            one.parent for one, chosen in zip(models, first, strict=True) if chosen
        }
    assert found.kappa.sel(law="paper").isnull()
    assert float(share["median"]) == float(found["median"].min())


def test_what_is_fitted_does_not_see_what_is_judged():
    models = make_models(1.3, noise=0.1)
    first = split([one.name for one in models])
    other = [
        one if chosen else type(one)(**vars(one) | {"measured": 9 * one.measured})
        for one, chosen in zip(models, first, strict=True)
    ]
    np.testing.assert_equal(compare_laws(other).kappa.values, compare_laws(models).kappa.values)


def test_laws_by_the_swing_are_left_out_where_no_capture_measured_it():
    table = make_study(make_models(1.3, noise=0.1))
    with_swing = compare_laws(list_models(table))
    without = compare_laws(list_models(table.drop_vars("swing")))
    assert set(with_swing.law.values) - set(without.law.values) == set(SWING_LAWS)
    xr.testing.assert_identical(with_swing.sel(law=without.law), without)
    some = [replace(one, swing=()) if one.parent == "p0" else one for one in list_models(table)]
    known = [one for one in some if one.swing and not split([one.name])[0]]
    assert int(compare_laws(some)["count"].sel(law="median reach by swing")) == len(known)
    rules = compare_laws(list_models(table), untrained=True)
    assert rules.law.values.tolist() == list(RULE_LAWS)
    assert rules.sel(law="first reach")["mean"] == with_swing.sel(law="first reach")["mean"]


def test_the_swing_can_come_from_another_study_of_the_same_parents():
    models = make_models(1.3, noise=0.1)
    table, other = make_study(models), make_study([one for one in models if one.parent != "p0"])
    found = list_models(table.drop_vars("swing"), swings=other)
    assert [one.name for one in found] == [one.name for one in models if one.parent != "p0"]
    assert [one.swing for one in found] == [one.swing for one in models if one.parent != "p0"]
    with pytest.raises(ConfigError, match="lacks swing"):
        list_models(table, swings=other.drop_vars("swing"))


def test_a_model_whose_parent_is_not_in_the_table_is_judged_by_no_law_of_its_pairs():
    table = make_study(make_models(1.3, noise=0.1))
    orphaned = table.isel(model=table.model.values != "p0")
    found = [one for one in list_models(orphaned) if one.parent == "p0"]
    assert found
    for predict in (predict_by_first_reach, predict_by_onset_stretch, predict_by_swing):
        assert np.isnan(predict(found)).all()


def test_the_constant_is_the_one_of_least_error():
    models = make_models(1.3, noise=0.2)
    paper = predict_limits(models, ceiled=True)
    measured = np.array([one.measured for one in models])
    scales = np.geomspace(0.5, 4, 4001)
    errors = [np.abs(np.log(measured / paper / scale)).mean() for scale in scales]
    own = np.abs(np.log(measured / paper / fit_scale(models, True))).mean()
    assert own <= min(errors) + 1e-3


def test_too_few_models_are_refused():
    with pytest.raises(ConfigError, match="two halves with measured limits: got 1"):
        compare_laws(make_models(1.3)[:1])


def test_the_command_prints_what_was_compared(tmp_path):
    models = make_models(1.3, noise=0.1)
    table = make_study(models).assign_attrs(kind="study")
    flags = {name: table[name].astype("i1") for name in ("tuned", "past_critical_base")}
    table.assign(flags).to_netcdf(tmp_path / "table.h5", engine="h5netcdf")
    found = compare_laws(models)
    told = CliRunner().invoke(build_app(), ["laws", str(tmp_path / "table.h5")])
    assert told.exit_code == 0, told.output
    assert (
        f"fitted on {found.attrs['fitted']} models, judged on {found.attrs['judged']} models" in told.output
    )
    assert f"{float(found['median'][0]):.2f} (" in told.output
    told = CliRunner().invoke(build_app(), ["laws", str(tmp_path / "table.h5"), "--json", "--parents"])
    given = json.loads(told.output)
    assert given["half"] == "parent"
    assert given["laws"]["paper"]["kappa"] is None
    assert given["laws"]["paper"]["median"] == pytest.approx(
        float(compare_laws(models, "parent")["median"][0])
    )

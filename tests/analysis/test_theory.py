"""Theory as arrays: pair by pair against the formulas, along the base against published values."""

import numpy as np
import pytest

from ropediag.analysis.theory import compare_theory, follow_law, measure_theory
from ropediag.errors import ConfigError
from ropediag.prediction import predict

LLAMA2 = {"pretrain_base": 1e4, "train_len": 4096, "rotary_dim": 128}


def llama2(base, **numbers):
    return predict(base=base, retrieval=False, **{**LLAMA2, **numbers})


def test_every_pair_equals_its_formula():
    found = measure_theory(llama2(1e6, tune_len=16384, target_len=65536))
    for pair in range(64):
        before, now = 2 * np.pi * 1e4 ** (pair / 64), 2 * np.pi * 1e6 ** (pair / 64)
        seen = max(min(1, 4096 / before), min(1, 16384 / now))
        row = found.sel(pair=pair)
        assert row.pretrain_period == pytest.approx(before)
        assert row.period == pytest.approx(now)
        assert row.pretrain_coverage == pytest.approx(min(1, 4096 / before))
        assert row.coverage == pytest.approx(seen)
        assert row.new_fraction == pytest.approx(max(0, min(1, 65536 / now) - seen))


def test_single_numbers_are_those_of_the_prediction():
    found = measure_theory(llama2(1e6, target_len=131072))
    assert (int(found.critical_dimension), int(found.critical_pair)) == (92, 46)
    assert float(found.predicted_limit) == pytest.approx(129026.78274161)
    assert float(found.recommended_base) == pytest.approx(1022121.8899)
    assert float(found.cautious_base) == pytest.approx(1378414.2797)
    assert int(found.retrieval_bound) == 27115
    assert all({"units", "long_name"} <= set(values.attrs) for values in found.data_vars.values())


def test_what_there_is_not_is_nan():
    found = measure_theory(llama2(500.0))
    for name in ("predicted_limit", "target_len", "recommended_base", "retrieval_base"):
        assert np.isnan(float(found[name]))
    assert np.isnan(found.new_fraction).all()


def test_a_pair_that_never_turns_has_no_period():
    rule = {"rope_type": "proportional", "partial_rotary_factor": 0.5}
    found = measure_theory(predict(base=1e4, train_len=128, rotary_dim=64, scaling=rule))
    assert np.isinf(found.period[16:]).all()
    assert (found.coverage[16:] == 0).all()


def test_settings_stand_beside_each_other():
    small = predict(base=1e4, train_len=128, rotary_dim=64)
    joined = compare_theory({"small": small, "large": llama2(1e6)})
    assert joined.setting.values.tolist() == ["small", "large"]
    assert joined.sizes["pair"] == 64
    assert np.isnan(joined.period.sel(setting="small", pair=slice(32, None))).all()
    assert joined.critical_dimension.values.tolist() == [22, 92]
    np.testing.assert_array_equal(joined.period.sel(setting="large"), measure_theory(llama2(1e6)).period)
    assert joined.period.attrs["units"] == "tokens"
    with pytest.raises(ConfigError, match="no setting"):
        compare_theory({})


def test_the_law_along_the_base_meets_published_limits():
    law = follow_law({"4k": llama2(1e6), "16k": llama2(1e6, tune_len=16384)})
    published = {40000: 12761.757, 200000: 40578.424, 600000: 89377.063, 2000000: 212346.53}
    for base, limit in published.items():
        for name in ("4k", "16k"):
            row = law.sel(setting=name)
            if base > float(row.critical_base):
                at = np.interp(np.log(base), np.log(row.curve_base), np.log(row.limit))
                assert np.exp(at) == pytest.approx(limit, rel=1e-5)
    assert law.critical_base.values == pytest.approx([10_000, 71738.4362001])


def test_below_the_base_of_pretraining_the_law_sets_no_limit():
    row = follow_law({"a": llama2(1e4)}).sel(setting="a")
    assert np.isnan(row.limit[row.curve_base < 1e4]).all()
    assert float(row.limit[row.curve_base == 1e4][0]) == 4096
    assert float(row.limit[row.curve_base > 1e4][0]) == pytest.approx(4711.724278)

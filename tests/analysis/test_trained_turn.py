"""The fitted share of a turn is the one that the limits were made with; so are halves and intervals."""

from dataclasses import replace

import numpy as np
import pytest

from ropediag.analysis.trained_turn import (
    TunedModel,
    errors_of,
    fit_kappa,
    fit_share,
    judge,
    kappa_interval,
    predict_by_first_reach,
    predict_by_onset_stretch,
    predict_by_permuted_swing,
    predict_by_stretch,
    predict_by_swing,
    predict_from_drift,
    predict_from_lateness,
    predict_limits,
    resample,
    split,
)
from ropediag.errors import ConfigError


def make_models(kappa, noise=0.0, seed=0, dims=(64, 32)):
    """Tuned models whose limits follow the law with this kappa, times noise that is the parent's own."""
    random = np.random.default_rng(seed)
    models = []
    for parent in range(8):
        pretrain_base, train_len = (100.0, 1e4)[parent % 2], (128, 256)[parent // 2 % 2]
        own = np.exp(noise * random.normal())
        for number, reach in enumerate((1.5, 2.2, 3.3, 5.0)):
            full = np.log(train_len / 2 / np.pi)
            base = float(np.exp(np.log(reach * train_len / 2 / np.pi) * np.log(pretrain_base) / full))
            trained = kappa * train_len
            limit = 2 * np.pi * (trained / 2 / np.pi) ** (np.log(base) / np.log(pretrain_base))
            dim, swings = dims[parent % len(dims)], np.random.default_rng(parent).uniform(0, 3, 32)
            periods = [plain_periods(dim, each) for each in (pretrain_base, base)]
            stretch = [new / old for old, new in zip(*periods, strict=True)]
            seen = [train_len / old for old in periods[0]]  # turns
            reach = [
                np.inf if turns >= 1 else train_len * by for turns, by in zip(seen, stretch, strict=True)
            ]
            models.append(TunedModel(
                f"p{parent}-{number}", f"p{parent}", dim, base, train_len, pretrain_base,
                train_len, 11.0, 10.5, 1.2 * own * train_len, own * max(limit, train_len), float(number + 1),
                tuple(stretch), tuple(reach), tuple(swings[: dim // 2].tolist()),
            ))  # fmt: skip
    return models


def plain_periods(dim, base):
    return [2 * np.pi * base ** (2 * pair / dim) for pair in range(dim // 2)]


@pytest.mark.parametrize("kappa", [0.8, 1.0, 1.3, 2.0])
def test_the_kappa_that_limits_were_made_with_is_found(kappa):
    models = make_models(kappa)
    assert fit_kappa(models) == pytest.approx(kappa, rel=1e-3)
    np.testing.assert_allclose(errors_of(models, predict_limits(models, kappa)), 0, atol=1e-9)


@pytest.mark.parametrize("ceiled", [False, True])
def test_no_other_kappa_does_better(ceiled):
    models = make_models(1.3, noise=0.1)
    best = fit_kappa(models, ceiled)
    least = min(np.nanmean(errors_of(models, predict_limits(models, each, ceiled)))
                for each in np.geomspace(0.3, 4, 400))  # fmt: skip
    assert np.nanmean(errors_of(models, predict_limits(models, best, ceiled))) <= least * 1.001


def test_the_interval_holds_the_truth_and_is_wider_where_parents_differ():
    truth = 1.3
    narrow, wide = (kappa_interval(make_models(truth, noise), resamples=300) for noise in (0.02, 0.1))
    assert narrow[0] < truth < narrow[1]
    assert wide[1] - wide[0] > narrow[1] - narrow[0]


def test_the_halves_depend_on_names_alone_and_are_about_halves():
    names = [f"model-{number}" for number in range(400)]
    half = split(names)
    assert 160 < half.sum() < 240
    np.testing.assert_array_equal(split(names[::-1]), half[::-1])


def test_parents_are_drawn_with_all_their_models():
    models = make_models(1.0)
    (places,) = resample(models, 1)
    assert len(places) == len(models)
    counts = np.bincount([int(models[place].parent[1:]) for place in places], minlength=8)
    assert (counts % 4 == 0).all()
    assert (counts == 0).any()


def test_a_judgement_is_made_of_the_errors():
    models = make_models(1.3, noise=0.2)
    predicted = predict_limits(models)
    found = judge(models, predicted)
    errors = [abs(np.log(one.measured / each)) for one, each in zip(models, predicted, strict=True)]
    assert found.median[0] == pytest.approx(np.median(errors))
    assert found.high[0] == pytest.approx(np.quantile(errors, 0.9))
    assert found.count == len(models)
    assert found.ratio[0] == pytest.approx(np.exp(np.mean(np.log([m.measured for m in models] / predicted))))
    for low_high in (found.median, found.high, found.ratio):
        assert low_high[1] <= low_high[0] <= low_high[2]


def test_what_was_not_measured_counts_nowhere():
    models = make_models(1.3)
    some = [*models, TunedModel("x", "p0", 64, 1e6, 128, 1e4, 128, *[np.nan] * 4)]
    assert fit_kappa(some) == pytest.approx(1.3, rel=1e-3)
    assert judge(some, predict_limits(some)).count == len(models)
    with pytest.raises(ConfigError, match="got none"):
        fit_kappa(some[-1:])


def test_the_drift_of_the_parent_predicts_the_period_of_its_onset_pair():
    (one,) = make_models(1.0)[1:2]
    period = 2 * np.pi / one.base ** (-2 * 11 / one.rotary_dim)
    assert predict_from_drift([one])[0] == pytest.approx(max(period, one.tune_len))


def test_a_model_as_late_as_its_parent_is_predicted_without_a_fit():
    models = make_models(1.0)
    late = [replace(one, measured=one.measured * one.parent_limit / one.train_len) for one in models]
    np.testing.assert_allclose(errors_of(late, predict_from_lateness(late)), 0, atol=1e-9)
    assert late[0].lateness == pytest.approx(1.2)


@pytest.mark.parametrize(("whole", "pair"), [(True, 11.0), (False, 10.5)])
def test_the_limit_of_the_parent_is_stretched_as_much_as_the_period_of_its_onset(whole, pair):
    for one in make_models(1.0):
        period, tuned = (
            2 * np.pi * base ** (2 * pair / one.rotary_dim) for base in (one.pretrain_base, one.base)
        )
        expected = max(one.parent_limit * tuned / period, one.tune_len)
        assert predict_by_stretch([one], whole)[0] == pytest.approx(expected)


def slow_swing(one, share, late):
    """The reach below which lies this share of the swing, half of each pair's own counted as below it."""
    pairs = sorted((np.log(reach), swing) for reach, swing in zip(one.reach, one.swing, strict=True)
                   if np.isfinite(reach))  # fmt: skip
    total, below, before = sum(swing for _, swing in pairs), 0.0, None
    for reach, swing in pairs:
        place = (below + swing / 2) / total
        if place >= share:
            if before is None:
                found = reach
            else:
                part = (share - before[0]) / (place - before[0])
                found = before[1] + part * (reach - before[1])
            break
        before, below, found = (place, reach), below + swing, reach
    return np.exp(found) * (one.parent_limit / one.train_len if late else 1)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 1.0])
def test_the_reach_of_the_pairs_that_swing_is_a_weighted_quantile(share, late):
    models = make_models(1.3, noise=0.1)
    expected = [slow_swing(one, share, late) for one in models]
    np.testing.assert_allclose(predict_by_swing(models, share, late), expected, rtol=1e-9)


def test_the_share_that_limits_were_made_with_is_found():
    models = make_models(1.3)
    made = [replace(one, measured=slow_swing(one, 0.3, late=True)) for one in models]
    assert fit_share(made) == pytest.approx(0.3)


def test_one_pair_that_swings_alone_sets_the_limit():
    (one,) = make_models(1.0)[1:2]
    pairs = len(one.reach)
    alone = replace(one, swing=tuple(float(pair == pairs - 2) for pair in range(pairs)))
    assert predict_by_swing([alone])[0] == pytest.approx(one.reach[-2])
    assert predict_by_swing([alone], late=True)[0] == pytest.approx(1.2 * one.reach[-2])
    assert predict_by_first_reach([one])[0] == min(one.reach)
    for swing in ((0.0,) * pairs, ()):
        assert np.isnan(predict_by_swing([replace(one, swing=swing)])[0])


def test_permuted_reaches_are_dealt_to_the_same_pairs():
    (one,) = make_models(1.0)[3:4]
    drawn = [predict_by_swing([one], permuted=np.random.default_rng(seed))[0] for seed in range(50)]
    assert len(set(drawn)) > 25
    same = replace(one, reach=tuple(300.0 if np.isfinite(each) else each for each in one.reach))
    np.testing.assert_allclose(predict_by_swing([same], permuted=np.random.default_rng(0)), 300)
    made = [replace(one, measured=predict_by_swing([one])[0])]
    worse = errors_of(made, predict_by_permuted_swing(made))[0]
    errors = np.sort(np.abs(np.log(made[0].measured) - np.log(drawn)))
    assert errors[10] < worse < errors[40]


def test_under_a_change_of_base_the_stretch_of_frequencies_is_that_of_the_law():
    models = make_models(1.0)
    np.testing.assert_allclose(
        np.maximum(predict_by_onset_stretch(models), [one.tune_len for one in models]),
        predict_by_stretch(models),
    )

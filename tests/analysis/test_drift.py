"""Drift against loops written out, and on planted truth."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from ropediag import open_capture
from ropediag.analysis.drift import (
    FALSE_DISCOVERIES,
    LEAST,
    assess_excursions,
    control_false_discoveries,
    find_onset,
    flagged_pairs,
    judge,
    measure_drift,
)
from ropediag.analysis.excursions import TRUSTED, Excursions, Profiles, find_excursions, seen_scale
from ropediag.schema import lag_edges
from ropediag.testing.planted import choose_plants, plant_drift
from tests.analysis.captures import EXAMPLE

LENGTH = 512
REACH = np.array([np.inf, 16.0, 37.5])  # of three pairs: trained, untuned, between the edges of a bin
PERIOD = np.array([6.0, 90.0, 4000.0])


def make_profiles(sequences, seed=0):
    random = np.random.default_rng(seed)
    lag = np.array(lag_edges(LENGTH))
    shape = (sequences, 2, 3, len(lag))
    middle, half = random.normal(size=shape), random.gamma(1.0, size=shape)
    stop = np.append(lag[1:], LENGTH)
    return Profiles(
        lag=lag,
        stop=stop,
        low=middle - half,
        high=middle + half,
        seen=stop <= REACH[:, None],
        unseen=np.array(
            [[is_unseen(pair, *bin_) for bin_ in zip(lag, stop, strict=True)] for pair in range(3)]
        ),
        scale=random.gamma(2.0, size=(2, 3)),
        mean_se=random.gamma(1.0, size=shape[1:]),
        single_se=random.gamma(1.0, size=(2, 3)),
        replicates=random.integers(0, 9, len(lag)),
    )


def is_unseen(pair, lag, stop):
    """Whether every lag of a bin lies past the reach within its turn."""
    return all(each % PERIOD[pair] >= REACH[pair] for each in range(lag, stop))


def excursion_written_out(profiles, head, pair, bin_):
    """Each sequence against its own range, first upwards, then downwards."""
    up, down = [], []
    for low, high in zip(profiles.low[:, head, pair], profiles.high[:, head, pair], strict=True):
        inside = [index for index, stop in enumerate(profiles.stop) if stop <= REACH[pair]]
        up.append(high[bin_] - max(high[index] for index in inside))
        down.append(min(low[index] for index in inside) - low[bin_])
    rows = up if np.mean(up) >= np.mean(down) else down
    scale = profiles.scale[head, pair]
    return np.mean(rows) / scale, np.std(rows, ddof=1) / np.sqrt(len(rows)) / scale if len(rows) > 1 else None


@pytest.mark.parametrize("sequences", [1, 3, 8, 11])
def test_excursions_equal_loops_over_sequences(sequences):
    profiles = make_profiles(sequences, seed=sequences)
    found = find_excursions(profiles, LENGTH)
    bins = [
        b
        for b, (lag, stop) in enumerate(zip(profiles.lag, profiles.stop, strict=True))
        if stop <= TRUSTED * LENGTH and any(is_unseen(pair, lag, stop) for pair in range(3))
    ]
    assert found.lag.tolist() == profiles.lag[bins].tolist()
    assert np.isnan(found.value[:, 0]).all()  # a pair that made a full turn meets no unseen angle
    for head in range(2):
        for pair in (1, 2):
            for place, bin_ in enumerate(bins):
                if not is_unseen(pair, profiles.lag[bin_], profiles.stop[bin_]):
                    assert np.isnan(found.value[head, pair, place])
                    assert np.isnan(found.error[head, pair, place])
                    continue
                value, error = excursion_written_out(profiles, head, pair, bin_)
                assert found.value[head, pair, place] == pytest.approx(value)
                if sequences < 8:  # too few sequences: the error of a single lag or of the bin stands in
                    keys = LENGTH - (profiles.stop[bin_] - 1)  # queries that reach the bin's last lag
                    single = profiles.single_se[head, pair] * np.sqrt(LENGTH / keys)
                    error = max(single, profiles.mean_se[head, pair, bin_]) / profiles.scale[head, pair]
                assert found.error[head, pair, place] == pytest.approx(error)


def test_the_scale_is_the_deviation_of_all_seen_values():
    random = np.random.default_rng(0)
    bins = [random.normal(loc=index, size=(4, 3, 20 + 3 * index)) for index in range(6)]
    mean = np.stack([values.mean(-1) for values in bins], -1)
    std = np.stack([values.std(-1) for values in bins], -1)
    count = np.array([values.shape[-1] for values in bins], dtype=float)
    last = [4, 6, 0]
    found = seen_scale(mean, std, count, np.arange(6) < np.array(last)[:, None])
    for pair, stop in enumerate(last[:2]):
        expected = np.concatenate(bins[:stop], -1)[:, pair].std(-1)
        np.testing.assert_allclose(found[:, pair], expected)
    assert np.isnan(found[:, 2]).all()


def make_excursions(value, error=None, freedom=7, lag=None):
    value = np.atleast_3d(np.asarray(value, dtype=float)).reshape(1, -1, np.shape(value)[-1])
    lag = np.arange(value.shape[-1]) * 8 + 64 if lag is None else np.asarray(lag)
    error = np.full(value.shape, 0.05) if error is None else np.broadcast_to(error, value.shape)
    stop = np.append(lag[1:], 2 * lag[-1] - lag[-2])
    return Excursions(lag, stop, value, error, np.ones(value.shape), np.full(len(lag), freedom))


def test_the_p_value_is_students_t_times_the_number_of_bins():
    excursions = make_excursions([0.1, 0.9, 0.3], error=0.2)
    expected = 3 * stats.t.sf((0.9 - LEAST) / 0.2, 7)
    assert assess_excursions(excursions)[0, 0] == pytest.approx(expected)


def test_p_values_of_mixed_freedom_equal_a_loop_over_bins():
    random = np.random.default_rng(3)
    freedom = np.array([0, 7, 7, 3, 1, 3, 0, 7])
    value, error = random.normal(size=(2, 30, 8)), random.gamma(1.0, size=(2, 30, 8))
    value[random.random(value.shape) < 0.3] = np.nan
    error[random.random(error.shape) < 0.1] = 0.0
    lag = np.arange(8) * 8 + 64
    found = assess_excursions(Excursions(lag, lag + 8, value, error, np.ones(value.shape), freedom))
    for place in np.ndindex(2, 30):
        with np.errstate(divide="ignore"):
            p = [
                stats.t.sf((v - LEAST) / e, f)
                for v, e, f in zip(value[place], error[place], freedom, strict=True)
                if f
            ]
        known = [each for each in p if not np.isnan(each)]
        expected = min(1.0, min(known) * len(known)) if known else np.nan
        assert found[place] == pytest.approx(expected, nan_ok=True)


def test_bins_without_an_error_are_not_tested():
    excursions = make_excursions([[0.1, 5.0], [0.1, 0.2]], error=np.array([0.1, np.nan]))
    assert assess_excursions(excursions)[0].tolist() == [pytest.approx(stats.t.sf(-1.5, 7))] * 2
    assert np.isnan(assess_excursions(make_excursions([0.1, 5.0], freedom=0))).all()


def test_false_discoveries_are_controlled_as_by_benjamini_and_hochberg():
    p = np.array([[0.01, np.nan, 0.04], [0.02, 0.9, np.nan]])
    expected = np.array([[0.04, np.nan, 4 * 0.04 / 3], [0.04, 0.9, np.nan]])
    np.testing.assert_allclose(control_false_discoveries(p), expected)


def onset_written_out(outside, tested, lag, stop, reach):
    """The first bin outside after which no run of tested bins inside is longer than allowed, to the end."""
    for first in range(len(lag)):
        if not outside[first]:
            continue
        stays, lags, bins = True, 0, 0
        for bin_ in range(first + 1, len(lag)):
            if outside[bin_]:
                lags = bins = 0
            elif tested[bin_]:
                lags, bins = lags + stop[bin_] - lag[bin_], bins + 1
            if lags > 2 * reach and bins > 1:
                stays = False
        if stays:
            return lag[first]
    return np.nan


def test_onsets_equal_a_walk_along_the_bins():
    random = np.random.default_rng(1)
    lag = np.array([edge for edge in lag_edges(4096) if edge >= 32])
    reach = random.choice([4.0, 32.0, 100.5], 200)
    tested = random.random((2, 200, len(lag))) < random.random((2, 200, 1)) + 0.5
    outside = (random.random((2, 200, len(lag))) < random.random((2, 200, 1))) & tested
    stop = np.append(lag[1:], 2 * lag[-1] - lag[-2])
    value = np.where(tested, 0.0, np.nan)
    excursions = Excursions(lag, stop, value, value, value, np.full(len(lag), 7))
    found = find_onset(outside, excursions, reach)
    for head in range(2):
        for pair in range(200):
            expected = onset_written_out(outside[head, pair], tested[head, pair], lag, stop, reach[pair])
            assert found[head, pair] == pytest.approx(expected, nan_ok=True)
    assert np.isfinite(found).mean() > 0.3
    assert np.isnan(found).any()


@pytest.mark.parametrize("window", [300, 512, 2048])
def test_a_layer_with_a_window_has_its_onset_within_it(window):
    """Lags from the window on do not exist: they are neither inside the range nor outside."""
    lag = np.array(lag_edges(8192))
    shape = (8, 1, 1, len(lag))
    noise = np.random.default_rng(2).normal(scale=0.01, size=shape)
    outside = np.where(lag >= 256, 3.0, 0.0)
    low = np.where(lag < window, outside + noise, np.nan)
    stop = np.append(lag[1:], 8192)
    one = np.ones((1, 1))
    replicates = np.full(len(lag), 8)
    bins = stop[None] <= 128, lag[None] >= 128
    profiles = Profiles(lag, stop, low, low + 0.01, *bins, one, low[0] * 0 + 0.01, one, replicates)
    found = judge(find_excursions(profiles, 8192), np.array([128.0]))
    assert [float(found[name][0, 0]) for name in ("onset", "onset_low", "onset_high")] == [256, 256, 256]
    assert found["p_value"][0, 0] < 1e-6


def test_the_sequences_that_an_unfinished_layer_holds_are_judged():
    whole, part = make_profiles(11), make_profiles(11)
    part.low[9:], part.high[9:] = np.nan, np.nan
    nine = replace(whole, low=whole.low[:9], high=whole.high[:9])
    expected, found = (find_excursions(profiles, LENGTH) for profiles in (nine, part))
    np.testing.assert_array_equal(found.value, expected.value)
    np.testing.assert_array_equal(found.error, expected.error)
    assert set(found.freedom) == {8}


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Detections and truth of planted captures, fresh seeds: (size, seed) -> drift, plants."""
    folder, found = tmp_path_factory.mktemp("planted"), {}
    with open_capture(EXAMPLE) as source:
        for size in (0.0, 1.0, 3.0):
            for seed in range(4):
                plants = choose_plants(source, 0.05, size, seed) if size else []
                path = plant_drift(source, folder / "planted.h5", plants, seed)
                with open_capture(path) as capture:
                    found[size, seed] = measure_drift(capture).load(), plants
    return found


def score(planted, size):
    """Hits, misses, false alarms, pairs without a plant over all seeds; by how many bins onsets are off."""
    lag = np.array(lag_edges(8192))
    hits = misses = alarms = quiet = 0
    bins_off = []
    for (planted_size, _), (drift, plants) in planted.items():
        if planted_size != size:
            continue
        truth = np.zeros(drift.drifts.shape, dtype=bool)
        for plant in plants:
            place = (plant.layer, plant.query_head, plant.pair)
            truth[place] = True
            if drift.drifts.values[place]:
                onset = drift.onset.values[place]
                bins_off.append(abs(np.searchsorted(lag, onset) - np.searchsorted(lag, plant.onset)))
        called = drift.drifts.values
        hits, misses = hits + (called & truth).sum(), misses + (~called & truth).sum()
        alarms, quiet = alarms + (called & ~truth).sum(), quiet + (~truth).sum()
    return hits, misses, alarms, quiet, np.array(bins_off)


def test_planted_drift_of_three_deviations_is_found_with_its_onset(planted):
    hits, misses, alarms, _, bins_off = score(planted, 3.0)
    assert hits + misses == 4 * 8  # a twentieth of the pairs without a full turn
    assert hits / (hits + misses) >= 0.98
    assert hits / (hits + alarms) >= 0.98
    assert (bins_off <= 1).mean() >= 0.95


def test_planted_drift_of_one_deviation_is_found_mostly(planted):
    hits, misses, alarms, quiet, _ = score(planted, 1.0)
    assert hits / (hits + misses) >= 0.8
    assert alarms / quiet <= 0.001


def test_where_nothing_is_planted_nothing_is_found(planted):
    _, _, alarms, quiet, _ = score(planted, 0.0)
    assert quiet == 4 * 256
    assert alarms / quiet <= 0.001


def double(array, inside):
    """Put the in-window lags of the other half of the sequences behind those of each half."""
    first, second = array[::2][..., inside], array[1::2][..., inside]
    return np.concatenate([np.concatenate([first, second], -1), np.concatenate([second, first], -1)])


def test_halves_of_the_window_do_not_drift_from_each_other():
    with open_capture(EXAMPLE) as capture:
        low, high = (capture.values(f"scores/lag_mean_{end}").astype(float) for end in ("min", "max"))
        moments = [capture.values(f"scores/{name}").astype(float) for name in ("mean", "std", "count")]
        lag, trained = capture.values("lag"), capture.attrs["train_len"]
    inside = lag < trained
    lags = np.concatenate([lag[inside], lag[inside] + trained])
    stop = np.append(lags[1:], 2 * trained)
    p_values = []
    for layer in range(low.shape[1]):
        halves = [double(array[:, layer], inside) for array in (low, high)]
        pairs = np.ones((low.shape[3], 1), dtype=bool)
        scale = seen_scale(*(moment[layer] for moment in moments), inside & pairs)
        unused = np.zeros(halves[0].shape[1:])
        bins = pairs & (stop <= trained), pairs & (lags >= trained)
        profiles = Profiles(lags, stop, *halves, *bins, scale, unused, scale, np.zeros(len(lags), dtype=int))
        p_values.append(assess_excursions(find_excursions(profiles, 4 * trained)))
    q_values = control_false_discoveries(np.stack(p_values))
    assert np.isfinite(q_values).all()
    assert (q_values <= FALSE_DISCOVERIES).mean() <= 0.001


def test_the_bundled_model_drifts_past_its_critical_pair_alone():
    with open_capture(EXAMPLE) as capture:
        drift, flagged = measure_drift(capture).load(), flagged_pairs(capture)
    pairs = sorted({pair for chosen in flagged.values() for pair in chosen})
    assert pairs[0] >= 11
    assert sum(map(len, flagged.values())) == int(drift.drifts.sum())
    assert np.isfinite(drift.onset.values[drift.drifts.values]).mean() > 0.8
    assert np.isnan(drift.onset.values[~drift.drifts.values]).all()
    low, onset, high = (drift[name].values for name in ("onset_low", "onset", "onset_high"))
    known = np.isfinite(low) & np.isfinite(onset) & np.isfinite(high)
    assert (low[known] <= onset[known]).all()
    assert (onset[known] <= high[known]).all()


def test_drift_is_measured_once_for_an_open_capture(monkeypatch):
    with open_capture(EXAMPLE) as capture, open_capture(EXAMPLE) as other:
        first = measure_drift(capture)
        first["drift"] = first.drift * 0
        monkeypatch.setattr("ropediag.analysis.drift.read_profiles", lambda *given: pytest.fail("read again"))
        second = measure_drift(capture)
        assert float(second.drift.max()) > 1
        with pytest.raises(ValueError, match="read-only"):
            second.drift.values[...] = 0
        with pytest.raises(pytest.fail.Exception):
            measure_drift(other)

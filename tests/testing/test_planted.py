"""Planted captures hold what was planted, on a background that is as noisy as the real one."""

import numpy as np
import pytest

from ropediag import open_capture
from ropediag.analysis.excursions import find_excursions, read_profiles
from ropediag.errors import CaptureError, ConfigError
from ropediag.testing.planted import Plant, choose_plants, fold_bins, plant_drift
from tests.analysis.captures import EXAMPLE
from tests.analysis.ragged import write_ragged
from tests.store.synthetic import write_capture


@pytest.fixture(scope="module")
def source():
    with open_capture(EXAMPLE) as capture:
        yield capture


def excursions(path, layer):
    with open_capture(path) as capture:
        return find_excursions(read_profiles(capture, layer), 8192)


@pytest.mark.parametrize("kind", ["shift", "swing"])
@pytest.mark.parametrize("upwards", [True, False])
def test_a_planted_pair_lies_outside_by_its_size_from_its_onset_on(source, tmp_path, kind, upwards):
    plant = Plant(2, 1, 20, 1024, 2.0, kind, upwards)
    found = excursions(plant_drift(source, tmp_path / "a.h5", [plant]), 2)
    unseen = np.isfinite(found.value[1, 20])
    later = unseen & (found.lag >= 1024)
    assert later.sum() > 8
    np.testing.assert_allclose(found.value[1, 20, later], 2.0, atol=0.25)
    assert found.value[1, 20, unseen & ~later].max() < 0.1
    if kind == "shift":
        assert (found.direction[1, 20, later] == (1 if upwards else -1)).all()


def test_the_rest_of_a_planted_capture_is_the_background(source, tmp_path):
    paths = [plant_drift(source, tmp_path / f"{name}.h5", plants, 3) for name, plants in
             (("none", []), ("one", [Plant(1, 0, 20, 256, 1.0)]))]  # fmt: skip
    quiet, planted = (excursions(path, 1) for path in paths)
    changed = np.argwhere((np.nan_to_num(quiet.value) != np.nan_to_num(planted.value)).any(-1)).tolist()
    assert changed == [[0, 20]]


def test_the_background_is_as_noisy_as_the_capture(source, tmp_path):
    """Errors over sequences, of pairs and lags where the real capture does not drift either."""
    real = find_excursions(read_profiles(source, 3), 8192)
    drawn = [excursions(plant_drift(source, tmp_path / "a.h5", [], seed), 3) for seed in range(6)]
    ratio = np.median([found.error[:, 24:] for found in drawn], axis=0) / real.error[:, 24:]
    assert 0.7 < np.nanmedian(ratio) < 1.5


def test_folding_walks_through_the_window_and_back():
    lag = np.array([0, 1, 2, 3, 4, 6, 8])
    shares = fold_bins(lag, 10, trained=4)
    walk = [0, 1, 2, 3, 2, 1, 0, 1, 2, 3]
    for row, (start, stop) in enumerate([(0, 1), (1, 2), (2, 3), (3, 4), (4, 6), (6, 8), (8, 10)]):
        expected = np.bincount(walk[start:stop], minlength=len(lag)) / (stop - start)
        np.testing.assert_allclose(shares[row], expected)


def test_plants_are_spread_over_all_pairs_without_a_full_turn(source):
    plants = [plant for seed in range(20) for plant in choose_plants(source, 0.05, 1.0, seed)]
    assert len(plants) == 20 * 8
    assert {plant.pair for plant in plants} == set(range(11, 32))
    assert {plant.kind for plant in plants} == {"shift"}
    assert min(plant.onset for plant in plants) == 128
    assert max(plant.onset for plant in plants) == 2048
    unseen = source.training.split_bins(source.values("lag"), np.append(source.values("lag")[1:], 8192))[1]
    for plant in plants:
        assert unseen[plant.layer, plant.pair, list(source.values("lag")).index(plant.onset)]


def test_what_cannot_be_planted_is_refused(source, tmp_path):
    with pytest.raises(
        ConfigError,
        match="an onset must be a lag bin's edge past the trained reach of its pair, 128: got 130",
    ):
        plant_drift(source, tmp_path / "a.h5", [Plant(0, 0, 20, 130, 1.0)])
    with pytest.raises(ConfigError, match="kind must be one of shift, swing: got 'jump'"):
        Plant(0, 0, 0, 256, 1.0, "jump")
    with pytest.raises(ConfigError, match="size must be above 0"):
        Plant(0, 0, 0, 256, 0.0)
    with (
        open_capture(write_capture(tmp_path / "few.h5")) as few,
        pytest.raises(CaptureError, match="has 2 sequences: resampling takes at least 8"),
    ):
        plant_drift(few, tmp_path / "b.h5")


def test_nothing_is_planted_in_an_unfinished_capture(tmp_path):
    path = write_ragged(tmp_path / "run.h5", sequences=8, train_len=4)
    with (
        open_capture(path) as capture,
        pytest.raises(CaptureError, match=r"not finished: 8 .* --resume first"),
    ):
        plant_drift(capture, tmp_path / "planted.h5")


def test_a_ragged_model_is_planted_where_it_has_pairs_and_keeps_the_rest(tmp_path):
    """8 sequences; layers with fewer heads and pairs, and one without RoPE."""
    path = write_ragged(tmp_path / "run.h5", sequences=8, finished=True, train_len=4)
    with open_capture(path) as capture:
        finite = np.isfinite(capture.values("scores/mean"))
        plants = [plant for seed in range(10) for plant in choose_plants(capture, 0.2, 1.0, seed)]
        assert all(finite[plant.layer, plant.query_head, plant.pair].any() for plant in plants)
        assert {plant.layer for plant in plants} == {0, 1, 3}
        with open_capture(plant_drift(capture, tmp_path / "planted.h5", plants[:1])) as planted:
            np.testing.assert_array_equal(np.isfinite(planted.values("scores/mean")), finite)
            low = capture.values("scores/lag_mean_min"), planted.values("scores/lag_mean_min")
        np.testing.assert_array_equal(*map(np.isfinite, low))
        with pytest.raises(ConfigError, match=r"\(2, 0, 0\) see no lag 16"):
            plant_drift(capture, tmp_path / "none.h5", [Plant(2, 0, 0, 16, 1.0)])

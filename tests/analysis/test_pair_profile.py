"""One pair laid out, against loops over the whole arrays; and what it has to do with its drift."""

import shutil

import h5py
import numpy as np
import pytest

from ropediag import open_capture
from ropediag.analysis.drift import measure_drift
from ropediag.analysis.excursions import TRUSTED
from ropediag.analysis.heads import key_head_index
from ropediag.analysis.pair_profile import JUDGEMENTS, measure_pair_lengths, measure_pair_profile
from ropediag.errors import ConfigError, FormatError
from ropediag.store.seal import SIZE, seal_file
from tests.analysis.captures import EXAMPLE
from tests.analysis.ragged import COMING, FULL, LAYERS, NARROW, UNROTATED, write_ragged

PLACES = [(1, 1, 14), (0, 0, 0), (3, 1, 31), (2, 0, 11)]


@pytest.fixture(scope="module")
def drift():
    with open_capture(EXAMPLE) as capture:
        return measure_drift(capture).load()


def laid_out(capture, layer, head, pair):
    """Whole arrays, one number after the other."""
    lag, length = capture.values("lag"), capture.attrs["length"]
    trained = np.inf if pair < 11 else 128
    whole = {path: capture.values(path) for path in capture.variables if path.startswith(("scores", "rows"))}
    sequences = range(capture.sizes["sequence"])
    inside = [i for i, stop in enumerate([*lag[1:], length]) if stop <= trained]
    low, high = whole["scores/lag_mean_min"], whole["scores/lag_mean_max"]
    place = (layer, head, pair)
    coarse = range(capture.sizes["coarse_lag"])
    return {
        "mean": whole["scores/mean"][place],
        "std": whole["scores/std"][place],
        "mean_se": whole["scores/mean_se"][place],
        "lag_mean_max": [
            np.mean([high[s][place][i] for s in sequences], dtype=float) for i in range(len(lag))
        ],
        "range_low": np.mean([min(low[s][place][i] for i in inside) for s in sequences], dtype=float),
        "range_high": np.mean([max(high[s][place][i] for i in inside) for s in sequences], dtype=float),
        "minimum": [min(whole["rows/minimum"][s][place][i] for s in sequences) for i in coarse],
        "maximum": [max(whole["rows/maximum"][s][place][i] for s in sequences) for i in coarse],
        "quantile": [
            [
                np.mean([whole["rows/quantile"][s][place][i, q] for s in sequences], dtype=float)
                for q in range(7)
            ]
            for i in coarse
        ],
        "period": 2 * np.pi / capture.values("rope/inv_freq")[layer, pair],
    }


@pytest.mark.parametrize("place", PLACES)
def test_a_profile_equals_the_whole_arrays_read_out(place, drift):
    with open_capture(EXAMPLE) as capture:
        found = measure_pair_profile(capture, *place, drift)
        expected = laid_out(capture, *place)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-6, err_msg=name)
    assert float(found.reach) == (np.inf if place[2] < 11 else 128)
    assert int(found.critical_pair) == 11
    assert all({"units", "long_name"} <= set(found[name].attrs) for name in found.variables)


@pytest.mark.parametrize("place", PLACES)
def test_the_drift_is_the_largest_excursion_of_the_profile_from_its_range(place, drift):
    with open_capture(EXAMPLE) as capture:
        found = measure_pair_profile(capture, *place, drift)
        stop = np.append(capture.values("lag")[1:], capture.attrs["length"])
        unseen = capture.training.split_bins(found.lag.values, stop)[1][place[0], place[2]]
    judged = unseen & (stop <= TRUSTED * 8192)
    if place[2] < 11:
        assert not judged.any()
        assert np.isnan(found.drift)
        return
    above = (found.lag_mean_max - found.range_high).values[judged].max()
    below = (found.range_low - found.lag_mean_min).values[judged].max()
    assert float(found.drift) == pytest.approx(max(above, below, 0.0) / float(found["scale"]), rel=1e-9)
    margin = drift.attrs["least"] * float(found["scale"])
    assert float(found.leave_high - found.range_high) == pytest.approx(margin)
    assert float(found.range_low - found.leave_low) == pytest.approx(margin)


def test_only_the_layers_own_chunks_are_read(tmp_path, drift):
    path = shutil.copy(EXAMPLE, tmp_path / "damaged.h5")
    names = [f"scores/{name}" for name in ("mean", "std", "mean_se", "lag_mean_min")]
    names += ["rows/quantile", "vectors/query_norm"]
    with h5py.File(path) as file:
        chunks = [file[name].id.get_chunk_info(index) for name in names for index in range(2)]
    image = bytearray(path.read_bytes()[:-SIZE])
    for chunk in chunks:  # layers 0 and 1, of the first sequence where there are sequences
        image[chunk.byte_offset + chunk.size // 2] ^= 0x10
    path.write_bytes(image)
    seal_file(path)  # anew, or the whole file would be refused
    with open_capture(path) as capture:
        assert np.isfinite(measure_pair_profile(capture, 3, 1, 14, drift)["mean"]).all()
        assert np.isfinite(measure_pair_lengths(capture, 3, 1, 14).query_norm).all()
        with pytest.raises(FormatError, match="the file is damaged"):
            measure_pair_profile(capture, 1, 1, 14, drift)


def test_lengths_equal_loops_with_the_key_head_that_the_head_reads(tmp_path):
    with open_capture(write_ragged(tmp_path / "ragged.h5", sequences=3)) as capture:
        query, key = capture.values("vectors/query_norm"), capture.values("vectors/key_norm")
        for head in range(4):
            found = measure_pair_lengths(capture, LAYERS[FULL], head, 2)
            owner = key_head_index(capture)[head]
            for bin_ in range(capture.sizes["norm_bin"]):
                q = [float(query[s, FULL, head, 2, bin_]) for s in range(3)]
                k = [float(key[s, FULL, owner, 2, bin_]) for s in range(3)]
                assert float(found.query_norm[bin_]) == pytest.approx(np.mean(q))
                assert float(found.key_norm[bin_]) == pytest.approx(np.mean(k))
                assert float(found.key_norm_se[bin_]) == pytest.approx(np.std(k, ddof=1) / 3**0.5)
        assert found.attrs["kv_head"] == 1


def test_what_a_layer_lacks_is_nan_and_what_the_capture_lacks_an_error(tmp_path):
    with open_capture(write_ragged(tmp_path / "ragged.h5")) as capture:
        drift = measure_drift(capture)
        lacking = measure_pair_profile(capture, LAYERS[NARROW], 0, 2, drift)
        assert np.isnan(lacking["mean"]).all()
        assert np.isnan(float(lacking.range_low))
        assert np.isnan(measure_pair_lengths(capture, LAYERS[NARROW], 3, 0).query_norm).all()
        with pytest.raises(ConfigError, match="holds no layer 4"):
            measure_pair_lengths(capture, 4, 0, 0)


def test_a_pair_is_judged_only_where_it_exists_and_was_tested(tmp_path, drift):
    def say(capture, place, drift):
        attrs = measure_pair_profile(capture, *place, drift).attrs
        assert attrs["judgement"] in JUDGEMENTS
        return attrs["judgement"], attrs["side"]

    with open_capture(EXAMPLE) as capture:
        for place in PLACES:
            word = "drifts" if bool(drift.drifts.loc[place]) else "does not drift"
            word = word if place[2] >= 11 else "meets no unseen angle"
            assert say(capture, place, drift) == (word, "past" if place[2] >= 11 else "before")
        untested = drift.assign(p_value=drift.p_value * np.nan, drifts=drift.drifts & False)
        assert say(capture, (1, 1, 14), untested) == ("not tested", "past")
    with open_capture(write_ragged(tmp_path / "ragged.h5")) as capture:
        ragged = measure_drift(capture)
        assert say(capture, (LAYERS[NARROW], 0, 2), ragged) == ("no such pair here", "")
        assert say(capture, (LAYERS[NARROW], 3, 0), ragged) == ("no such pair here", "")
        assert say(capture, (LAYERS[UNROTATED], 0, 0), ragged) == ("no such pair here", "")
        assert say(capture, (LAYERS[COMING], 0, 0), ragged) == ("meets no unseen angle", "before")
        assert say(capture, (LAYERS[COMING], 0, 1), ragged) == ("not tested", "past")

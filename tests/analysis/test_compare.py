"""Compare: a capture against itself, against another, and what cannot be compared."""

import numpy as np
import pytest
import xarray as xr

from ropediag import open_capture
from ropediag.analysis.compare import (
    compare_captures,
    list_comparisons,
    measure_both,
    subtract,
)
from ropediag.analysis.ranking import rank_differences
from ropediag.errors import ConfigError
from ropediag.schema import lag_edges
from ropediag.store import CaptureWriter, write_whole
from tests.analysis.captures import EXAMPLE
from tests.store.synthetic import make_attributes, make_header, make_layer, write_capture


def write_length(path, length):
    """A capture of random numbers at another length."""
    header = make_header(length=length)
    header["sample"] = np.array([0, 5, length - 1])
    with CaptureWriter.create(path, header, make_attributes(length=length)) as writer:
        for sequence in header["sequence"].tolist():
            for layer in header["layer"].tolist():
                writer.write_layer(sequence, layer, make_layer(header, sequence, layer))
            writer.write_loss(sequence, {"loss/nll": np.zeros(length, "f4")})
        return writer.finish({})


@pytest.mark.parametrize("name", list_comparisons())
def test_a_capture_does_not_differ_from_itself(name):
    with open_capture(EXAMPLE) as first, open_capture(EXAMPLE) as second:
        both = measure_both(first, second, name)
        found = subtract(*both)
    for variable, values in found.data_vars.items():
        known = values.where(values.notnull(), 0.0)
        if str(variable).endswith("_se"):
            np.testing.assert_allclose(known, np.sqrt(2) * both[0][variable].fillna(0.0), rtol=1e-5)
        else:
            assert float(abs(known).max()) == 0, variable
        assert values.dims == both[0][variable].dims
        assert values.attrs["units"] == both[0][variable].attrs["units"]
    assert found.attrs["shows"] in found
    ranking = rank_differences(*both, count=3)
    assert (ranking.standing, ranking.differences) == (0, ())


def test_scores_are_subtracted_on_the_bins_that_both_lengths_hold_whole(tmp_path):
    """Of 40 and 70 tokens: the bin from 36 to 40 is whole in both, so all bins of the shorter remain."""
    with (
        open_capture(write_length(tmp_path / "a.h5", 70)) as first,
        open_capture(write_length(tmp_path / "b.h5", 39)) as second,
    ):
        found = compare_captures(first, second, "scores")
        mean = [capture["scores/mean"].load() for capture in (first, second)]
        error = [capture["scores/mean_se"].load() for capture in (first, second)]
    edges = lag_edges(39)[:-1]  # 36 to 39 is only a part of the bin from 36 to 40
    assert found.lag.values.tolist() == edges
    size = len(edges)
    np.testing.assert_allclose(found["mean"], mean[1].values[..., :size] - mean[0].values[..., :size])
    expected = np.hypot(error[0].values[..., :size], error[1].values[..., :size])
    np.testing.assert_allclose(found.mean_se, expected, rtol=1e-6)
    assert (found.attrs["first_length"], found.attrs["second_length"]) == (70, 39)


def test_a_subset_of_layers_is_compared_on_the_common_ones(tmp_path):
    with (
        open_capture(write_capture(tmp_path / "a.h5")) as first,
        open_capture(write_capture(tmp_path / "b.h5", layers=(2, 5))) as second,
        open_capture(write_capture(tmp_path / "c.h5", layers=(7,))) as third,
    ):
        assert compare_captures(first, second, "pair_norms").layer.values.tolist() == [2]
        with pytest.raises(ConfigError, match=r"no layer in common: \[0, 1, 2\].*\[7\]"):
            compare_captures(first, third, "pair_norms")


def test_heads_of_another_shape_files_of_another_kind_and_unknown_names_are_refused(tmp_path):
    evaluation = write_whole(
        tmp_path / "e.h5",
        {"sequence": np.arange(1), "position": np.arange(3)},
        {"loss/nll": np.ones((1, 3), "f4")},
        make_attributes(kind="evaluation"),
    )
    with (
        open_capture(write_capture(tmp_path / "a.h5")) as first,
        open_capture(write_capture(tmp_path / "b.h5", pairs=4)) as second,
        open_capture(evaluation) as third,
    ):
        with pytest.raises(ConfigError, match=r"3 pairs a head and .* 4"):
            compare_captures(first, second, "scores")
        with pytest.raises(ConfigError, match="holds an evaluation, and what is needed is a capture"):
            compare_captures(first, third, "scores")
        with pytest.raises(ConfigError, match="choose from scores"):
            compare_captures(first, first, "scroes")


def labelled(values, units="1"):
    return xr.DataArray(values, {"pair": [3, 4, 5]}, "pair", attrs={"units": units, "long_name": "it"})


def test_angles_differ_the_short_way_round():
    first, second = (
        xr.Dataset({"angle": labelled(values, "rad")}, attrs={"high": "", "shows": "angle"})
        for values in ([3.0, -3.0, 0.5], [-3.0, 3.0, 1.0])
    )
    turn = 2 * np.pi
    np.testing.assert_allclose(subtract(first, second).angle, [turn - 6, 6 - turn, 0.5])


def test_errors_rest_on_whole_sequences_or_on_the_blocks_of_the_file(tmp_path):
    """Two sequences: a spread between two of them, or between the 8 blocks of each."""
    with open_capture(write_capture(tmp_path / "a.h5")) as first:
        for name, expected in (("pair_norms", 2), ("scores", 16)):
            both = measure_both(first, first, name)
            assert [part.attrs["replicates"] for part in both] == [expected, expected]

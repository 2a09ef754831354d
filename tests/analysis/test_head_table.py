"""The head table against loops over heads, on the shipped capture and on a ragged model."""

import numpy as np
import pytest
import xarray as xr

from ropediag import open_capture
from ropediag.analysis.drift import measure_drift
from ropediag.analysis.head_table import (
    WHOLE,
    list_heads,
    measure_head_table,
    rank_pairs,
    spread_ranks,
    tabulate_heads,
)
from tests.analysis.captures import EXAMPLE
from tests.analysis.ragged import COMING, FULL, UNROTATED, write_ragged

TRAINED, LENGTH = 128, 8192


@pytest.fixture(scope="module")
def example():
    """The table of the shipped capture, its drift, and the arrays that the loops read."""
    with open_capture(EXAMPLE) as capture:
        names = ("rows/query_position", "rows/entropy", "rows/sink_mass", "rows/mass", "lag",
                 "vectors/query_norm", "vectors/key_norm", "norm_bin",
                 "partial/past_mean", "partial/past_std", "position_bin")  # fmt: skip
        arrays = {name: capture.values(name).astype(float) for name in names}
        return measure_head_table(capture).load(), measure_drift(capture).load(), arrays


def heads(table):
    return [
        (layer, head) for layer in range(table.sizes["layer"]) for head in range(table.sizes["query_head"])
    ]


def test_drift_is_that_of_the_worst_pair_of_each_head(example):
    table, drift, _ = example
    for layer, head in heads(table):
        row, own = table.isel(layer=layer, query_head=head), drift.isel(layer=layer, query_head=head)
        pairs = [own.isel(pair=pair) for pair in range(32)]
        ranked = sorted(range(32), key=lambda pair: -np.nan_to_num(float(pairs[pair].drift), nan=-1.0))
        drifting = [pair for pair in range(32) if bool(pairs[pair].drifts)]
        assert float(row.drift) == float(pairs[ranked[0]].drift)
        assert int(row.drift_pair) == ranked[0]
        assert row.drift_pairs.values.tolist() == ranked[:3]
        assert int(row.drifting_pairs) == len(drifting)
        assert int(row.tested_pairs) == sum(np.isfinite(float(pair.p_value)) for pair in pairs)
        assert int(row.onset_pair) == min(drifting)
        onsets = [float(pairs[pair].onset) for pair in drifting]
        assert float(row.onset) == min(onset for onset in onsets if np.isfinite(onset))


def test_softmax_and_mass_are_means_over_the_queries_of_each_side(example):
    table, _, arrays = example
    position, lag = arrays["rows/query_position"], arrays["lag"]
    stops = np.append(lag[1:], LENGTH)
    for layer, head in heads(table):
        row = table.isel(layer=layer, query_head=head)
        for side in ("inside", "past"):
            for name in ("entropy", "sink_mass"):
                chosen = [
                    arrays[f"rows/{name}"][sequence, layer, head, query]
                    for sequence in range(position.shape[0])
                    for query in range(position.shape[1])
                    if (position[sequence, query] >= TRAINED) == (side == "past")
                ]
                assert float(row[f"{name}_{side}"]) == pytest.approx(np.mean(chosen))
        near, far = [], []
        for sequence, query in np.argwhere(position >= TRAINED):
            mass = arrays["rows/mass"][sequence, layer, head, query]
            near.append(sum(mass[bin_] for bin_ in range(len(lag)) if stops[bin_] <= TRAINED))
            far.append(sum(mass[bin_] for bin_ in range(len(lag)) if lag[bin_] >= TRAINED))
        assert float(row.near_mass) == pytest.approx(np.mean(near))
        assert float(row.far_mass) == pytest.approx(np.mean(far))


def test_dominant_pairs_have_the_longest_queries_and_keys(example):
    table, _, arrays = example
    widths = np.diff(arrays["norm_bin"], append=LENGTH)
    for layer, head in heads(table):
        products = []
        for pair in range(32):
            sides = [
                np.sqrt((arrays[f"vectors/{side}_norm"][:, layer, head, pair] ** 2 @ widths) / LENGTH)
                for side in ("query", "key")
            ]
            products.append((sides[0] * sides[1]).mean())
        ranked = sorted(range(32), key=lambda pair: -products[pair])
        assert table.norm_pairs.isel(layer=layer, query_head=head).values.tolist() == ranked[:3]


def test_the_move_is_that_of_the_partial_logit_past_the_trained_length(example):
    table, _, arrays = example
    edges = arrays["position_bin"]
    stops = np.append(edges[1:], LENGTH)
    for layer, head in heads(table):
        moves = []
        for mean, std in zip(arrays["partial/past_mean"], arrays["partial/past_std"], strict=True):
            inside = [mean[layer, head, b] for b in range(len(edges)) if stops[b] <= TRAINED]
            beyond = [mean[layer, head, b] for b in range(len(edges)) if edges[b] >= TRAINED]
            spread = [std[layer, head, b] for b in range(len(edges)) if stops[b] <= TRAINED]
            moves.append(abs(np.mean(beyond) - np.mean(inside)) / np.mean(spread))
        assert float(table.past_move[layer, head]) == pytest.approx(np.mean(moves), rel=1e-5)


def test_ranks_are_those_of_a_sorted_list_without_what_is_not_there():
    random = np.random.default_rng(0)
    values = random.normal(size=(3, 2, 6))
    values[random.random(values.shape) < 0.3] = np.nan
    array = xr.DataArray(
        values,
        {"layer": [4, 5, 9], "query_head": [0, 1], "pair": np.arange(6)},
        ("layer", "query_head", "pair"),
    )
    found = rank_pairs(array, 4)
    for layer in range(3):
        for head in range(2):
            held = [pair for pair in range(6) if values[layer, head, pair] > 0]
            expected = sorted(held, key=lambda pair: -values[layer, head, pair])[:4]
            row = found.values[layer, head]
            assert row[: len(expected)].tolist() == expected
            assert np.isnan(row[len(expected) :]).all()
    assert found.layer.values.tolist() == [4, 5, 9]


def test_every_column_has_units_and_a_meaning(example):
    for name, column in example[0].items():
        assert column.attrs["units"], name
        assert len(column.attrs["long_name"]) > 8, name
        assert column.dims[:2] == ("layer", "query_head"), name


def test_what_an_unfinished_or_ragged_capture_does_not_know_is_nan(tmp_path):
    with open_capture(write_ragged(tmp_path / "run.h5")) as capture:
        table = tabulate_heads(capture, measure_drift(capture)).load()
    measured = [name for name in table if "onset" not in name and "cost" not in name]
    assert all(np.isfinite(table[name].isel(layer=FULL)).any() for name in measured)
    assert all(table[name].isel(layer=COMING).isnull().all() for name in table)
    for name in ("drift", "drift_pair", "drifting_pairs", "norm_pairs", "past_move"):
        assert table[name].isel(layer=UNROTATED).isnull().all(), name
    assert np.isfinite(table.entropy_past.isel(layer=UNROTATED)).any()


def test_lags_pairs_and_counts_are_listed_exactly(example):
    table = example[0].copy(deep=True)
    table["onset"][2, 1] = 22_528.0
    listed = {(row["layer"], row["query_head"]): row for row in list_heads(table)}
    assert len(listed) == len(heads(table))
    for layer, head in heads(table):
        row, own = listed[layer, head], table.isel(layer=layer, query_head=head)
        for name in WHOLE:
            assert type(row[name]) is int
            assert row[name] == own[name].item()
        for name in ("drift_pairs", "norm_pairs"):
            assert row[name] == own[name].values.tolist()
        assert row["entropy_past"] == pytest.approx(own.entropy_past.item(), rel=1e-3)
    assert listed[2, 1]["onset"] == 22_528


def test_every_rank_has_a_column_of_its_own(example):
    table = example[0]
    spread = spread_ranks(table)
    assert all(values.dims == ("layer", "query_head") for values in spread.data_vars.values())
    for name, values in table.data_vars.items():
        if "rank" not in values.dims:
            xr.testing.assert_identical(spread[name], values)
            continue
        for rank in range(3):
            np.testing.assert_array_equal(spread[f"{name}_{rank}"], values.values[..., rank])

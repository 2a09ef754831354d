"""The rotary geometry against published numbers, a complex-number twin and its own symmetries."""

import numpy as np
import pytest

from ropediag.errors import ConfigError
from ropediag.rope import RopeSpec, inv_freq, pair_channels, rotate, uniform_spec, unrotate

RNG = np.random.default_rng(20231008)
GOOD_SPEC = {
    "inv_freq": np.array([[1.0, 0.1]]),
    "channels": np.array([[[0, 1], [2, 3]]]),
    "attention_factor": np.ones(1),
    "head_dim": np.array([4]),
    "layout": "interleaved",
}


def rotate_by_complex_numbers(x, positions, frequencies, channels):
    """Turn pair after pair as complex numbers: the slow twin of ``rotate``."""
    result = np.array(x, dtype=np.float64)
    for row, position in enumerate(positions):
        for frequency, (first, second) in zip(frequencies, channels, strict=True):
            turned = (x[..., row, first] + 1j * x[..., row, second]) * np.exp(1j * position * frequency)
            result[..., row, first], result[..., row, second] = turned.real, turned.imag
    return result


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        ("interleaved", [-1.27223251272018, -1.8388649851410237, 2.87866810043698, 4.088186635603437]),
        ("half", [-1.413352520780047, 1.8791180666879925, -2.828857481741469, 4.058191135400942]),
    ],
)
def test_rotation_matches_the_worked_example(layout, expected):
    rotated = rotate(np.array([[1.0, 2, 3, 4]]), np.array([3]), inv_freq(4, 1e4), pair_channels(layout, 4))
    np.testing.assert_allclose(rotated[0], expected, rtol=1e-14)


@pytest.mark.parametrize(
    ("layout", "parts"),
    [
        ("interleaved", [1.2027487287809338, 5.75733620087396]),
        ("half", [-6.364391223872961, -1.8791180666879925]),
    ],
)
def test_pair_contributions_sum_to_the_logit_of_each_layout(layout, parts):
    channels, frequencies = pair_channels(layout, 4), inv_freq(4, 1e4)
    query = rotate(np.array([[1.0, 2, 3, 4]]), np.array([5]), frequencies, channels)[0]
    key = rotate(np.array([[0.5, -1, 2, 0]]), np.array([2]), frequencies, channels)[0]
    np.testing.assert_allclose([query[pair] @ key[pair] for pair in channels], parts, rtol=1e-13)
    assert query @ key == pytest.approx(sum(parts), rel=1e-13)


@pytest.mark.parametrize("layout", ["half", "interleaved"])
def test_rotation_equals_complex_multiplication(layout):
    x, positions = RNG.normal(size=(2, 3, 7, 20)), np.array([0, 1, 5, 100, 4096, 65_536, 1_048_576])
    channels = pair_channels(layout, 12, head_dim=20, offset=5)
    fast = rotate(x, positions, inv_freq(12, 500.0), channels)
    np.testing.assert_allclose(fast, rotate_by_complex_numbers(x, positions, inv_freq(12, 500.0), channels))
    outside = np.setdiff1d(np.arange(20), channels)
    assert np.array_equal(fast[..., outside], x[..., outside])


def test_logits_depend_on_the_lag_alone():
    query, key = RNG.normal(size=(2, 1, 64))
    channels, frequencies = pair_channels("half", 64), inv_freq(64, 1e4)

    def logit(query_position, key_position):
        turned = [
            rotate(x[None, :], np.array([position]), frequencies, channels)[0]
            for x, position in ((query[0], query_position), (key[0], key_position))
        ]
        return turned[0] @ turned[1]

    assert logit(150, 40) == pytest.approx(logit(1150, 1040), abs=1e-10)
    assert logit(150, 40) != pytest.approx(logit(150, 41), abs=1e-2)


def test_a_wrong_layout_moves_logits_when_all_positions_shift():
    query, key = RNG.normal(size=(2, 1, 64))
    right, wrong, frequencies = pair_channels("half", 64), pair_channels("interleaved", 64), inv_freq(64, 1e4)
    for channels, moves in ((right, False), (wrong, True)):
        moved = np.abs(
            _first_pair_part(query, key, right, channels, frequencies, shift=0)
            - _first_pair_part(query, key, right, channels, frequencies, shift=1000)
        )
        assert (moved > 0.1) == moves


def _first_pair_part(query, key, applied, read, frequencies, shift):
    turned_query = rotate(query, np.array([50 + shift]), frequencies, applied)[0]
    turned_key = rotate(key, np.array([20 + shift]), frequencies, applied)[0]
    return turned_query[read[0]] @ turned_key[read[0]]


def test_the_attention_factor_enters_logits_squared_and_unrotate_removes_it():
    x, positions = RNG.normal(size=(5, 16)), np.arange(5)
    geometry = inv_freq(8, 1e4), pair_channels("half", 8, head_dim=16)
    scaled = rotate(x, positions, *geometry, attention_factor=1.25)
    plain = rotate(x, positions, *geometry)
    rotated, rest = geometry[1].ravel(), np.arange(8, 16)
    np.testing.assert_allclose(
        scaled[0, rotated] @ scaled[1, rotated], 1.5625 * plain[0, rotated] @ plain[1, rotated]
    )
    assert np.array_equal(scaled[:, rest], x[:, rest])
    np.testing.assert_allclose(unrotate(scaled, positions, *geometry, attention_factor=1.25), x, atol=1e-14)


def test_the_first_92_dimensions_in_the_half_layout_are_not_the_first_92_channels():
    channels = pair_channels("half", 128)
    assert sorted(channels[:46].ravel()) == [*range(46), *range(64, 110)]
    assert sorted(channels[46:].ravel()) == [*range(46, 64), *range(110, 128)]
    whole = [pair for pair, (first, second) in enumerate(channels) if max(first, second) < 92]
    assert whole == list(range(28))


def test_an_offset_rotates_the_last_channels():
    spec = uniform_spec(2, 192, inv_freq(64, 1e4), "half", offset=128)
    assert spec.channels[1, 0].tolist() == [128, 160]
    assert spec.rest_channels(1).tolist() == list(range(128))


def test_spec_counts_pairs_where_layers_differ():
    frequencies = np.full((3, 4), np.nan)
    channels = np.full((3, 4, 2), -1)
    frequencies[0], channels[0] = inv_freq(8, 1e4), pair_channels("half", 8)
    frequencies[1, :2], channels[1, :2] = [1.0, 0.0], pair_channels("interleaved", 4)
    spec = RopeSpec(frequencies, channels, np.ones(3), np.array([8, 6, 8]), "mixed")
    assert [spec.pair_count(layer) for layer in range(3)] == [4, 2, 0]
    assert spec.rest_channels(1).tolist() == [4, 5]
    assert spec.rest_channels(2).tolist() == list(range(8))
    assert spec.periods[0, 0] == pytest.approx(2 * np.pi)
    assert np.isinf(spec.periods[1, 1])
    assert np.isnan(spec.periods[1, 2])
    x = RNG.normal(size=(3, 6))
    turned = rotate(x, np.arange(3), spec.inv_freq[1], spec.channels[1])
    assert np.array_equal(turned[:, 2:], x[:, 2:])


def test_spec_arrays_cannot_be_changed_from_inside_or_outside():
    frequencies = np.tile(inv_freq(8, 1e4), (1, 1))
    spec = RopeSpec(frequencies, pair_channels("half", 8)[None], np.ones(1), np.array([8]), "half")
    frequencies[:] = 7.0
    assert spec.inv_freq[0, 0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        spec.inv_freq[0, 0] = 2.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inv_freq": np.array([[1.0, -0.1]])}, "finite and >= 0"),
        ({"inv_freq": np.array([[np.inf, 0.1]])}, "finite and >= 0"),
        ({"inv_freq": np.array([[np.nan, 0.1]])}, "after the real pairs"),
        ({"inv_freq": np.array([[1.0, np.nan]])}, "-1 exactly where"),
        ({"channels": np.array([[[0, 1], [2, 4]]])}, "inside the head"),
        ({"channels": np.array([[[0, 1], [-1, -1]]])}, "inside the head"),
        ({"channels": np.array([[[0, 1], [1, 2]]])}, "one pair only"),
        ({"attention_factor": np.array([0.0])}, "attention_factor"),
        ({"base": 1.0}, "base must be"),
        ({"base": float("nan")}, "base must be"),
    ],
)
def test_spec_refuses_what_cannot_be(change, message):
    RopeSpec(**GOOD_SPEC)
    with pytest.raises(ConfigError, match=message):
        RopeSpec(**{**GOOD_SPEC, **change})


@pytest.mark.parametrize(
    "change",
    [{"inv_freq": np.ones((1, 3))}, {"head_dim": np.array([4, 4])}, {"channels": np.zeros((1, 2, 3), int)}],
)
def test_spec_refuses_arrays_that_do_not_match(change):
    with pytest.raises(
        (ConfigError, TypeError), match=r"shape|Expected type"
    ):  # TypeError if shapes are checked
        RopeSpec(**{**GOOD_SPEC, **change})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: inv_freq(7, 1e4), "positive even number: got 7"),
        (lambda: inv_freq(0, 1e4), "positive even number: got 0"),
        (lambda: inv_freq(8, 1.0), "above 1: got 1.0"),
        (lambda: pair_channels("neox", 8), "one of .* got 'neox'"),
        (lambda: pair_channels("half", 8, head_dim=6), "inside the head"),
        (lambda: pair_channels("half", 8, head_dim=8, offset=2), "inside the head"),
    ],
)
def test_bad_geometry_is_refused(call, message):
    with pytest.raises(ConfigError, match=message):
        call()

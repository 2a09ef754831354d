"""The laws against independently computed values, released configs and slow twins."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ropediag import limits
from ropediag.errors import ConfigError
from ropediag.rope import inv_freq

# rotary_dim, base, training length, critical dimension, last trained period, first untrained period
CRITICAL = [
    (128, 1e4, 2048, 82, 1986.918, 2294.457),
    (128, 1e4, 4096, 92, 4080.185, 4711.724),
    (128, 1e4, 8192, 100, 7255.709, 8378.762),
    (128, 5e5, 4096, 64, 3619.249, 4442.883),
    (128, 5e5, 8192, 70, 6695.109, 8218.718),
    (64, 5e5, 8192, 36, 6695.109, 10089.055),
    (128, 1e6, 16384, 74, 14899.780, 18489.700),
    (128, 1e6, 32768, 80, 28472.780, 35332.948),
    (128, 1e7, 262144, 86, 246564.114, 317179.323),
    (256, 1e4, 8192, 200, 7797.042, 8378.762),
    (256, 1e6, 32768, 160, 31717.932, 35332.948),
    (256, 1e4, 1024, 142, 967.564, 1039.752),
    (96, 1e4, 2048, 62, 1986.918, 2407.206),
    (96, 1e4, 4096, 68, 3533.295, 4280.684),
    (64, 1e4, 4096, 46, 3533.295, 4711.724),
    (32, 1e4, 2048, 22, 1986.918, 3533.295),
    (24, 1e4, 2048, 16, 1353.671, 2916.396),
    (64, 1e4, 2048, 42, 1986.918, 2649.597),
    (64, 1e4, 8192, 50, 6283.185, 8378.762),
    (64, 5e6, 131072, 42, 96613.123, 156451.213),
    (64, 1.5e5, 4096, 36, 3531.656, 5125.441),
    (64, 1.3e5, 8192, 40, 6832.564, 9871.757),
]
# tuned base -> limit with and without the ceiling, for 128 dimensions, base 1e4, length 4096
LLAMA2_LIMITS = {
    40_000.0: (12761.757478283, 10862.661755022014),
    100_000.0: (24656.411433095, 20696.884109183047),
    400_000.0: (66782.163901653, 54888.48912620741),
    1_000_000.0: (129026.78274161, 104580.32515355317),
    2_000_000.0: (212346.534526, 170309.21299655118),
    5_000_000.0: (410265.085398, 324494.13630008104),
}
# pretraining base, training length, tuning length -> critical base; three equal released rope_theta values
CRITICAL_BASES = [
    (1e4, 4096, 8192, 26784.031847371276),
    (1e4, 4096, 16384, 71738.43620009988),
    (1e4, 4096, 131072, 1378414.2796983884),
    (1e4, 4096, 1048576, 26485466.18965443),
    (1e4, 2048, 131072, 7494912.889638098),
    (5e5, 8192, 131072, 79760692.22177592),
    (1e4, 2048, 16384, 273768.3854947115),  # SmolLM2: 273768
    (5e5, 8192, 262144, 283461213.47555685),  # Llama-3 Gradient 262k: 283461213
    (5e5, 8192, 1048576, 3580165449.1130347),  # Llama-3 Gradient 1048k: 3580165449
]


def critical_pair_by_counting(frequencies, train_len, turns):
    """Walk the pairs one by one: the slow twin of ``critical_pair``."""
    count = 0
    for frequency in frequencies:
        if frequency > 0 and turns * (2 * math.pi / frequency) <= train_len:
            count += 1
    return count


@pytest.mark.parametrize(("rotary_dim", "base", "train_len", "expected", "inside", "outside"), CRITICAL)
def test_critical_dimension_and_its_neighbouring_periods(
    rotary_dim, base, train_len, expected, inside, outside
):
    frequencies = inv_freq(rotary_dim, base)
    assert limits.critical_dimension(frequencies, train_len) == expected
    assert limits.critical_dimension_closed_form(rotary_dim, base, train_len) == expected
    first = limits.critical_pair(frequencies, train_len)
    np.testing.assert_allclose(2 * np.pi / frequencies[first - 1 : first + 1], [inside, outside], rtol=1e-6)


@settings(max_examples=200)
@given(
    rotary_dim=st.integers(1, 128).map(lambda pairs: 2 * pairs),
    base=st.floats(1.5, 1e9),
    train_len=st.integers(2, 10**6),
    turns=st.floats(0.3, 3.0),
)
def test_counting_periods_equals_the_closed_form_and_its_twin(rotary_dim, base, train_len, turns):
    frequencies = inv_freq(rotary_dim, base)
    counted = limits.critical_pair(frequencies, train_len, turns)
    assert counted == critical_pair_by_counting(frequencies, train_len, turns)
    assert 2 * counted == limits.critical_dimension_closed_form(rotary_dim, base, train_len, turns)


def test_pairs_that_never_turn_and_padding_count_as_untrained():
    assert limits.critical_dimension(np.array([1.0, 0.1, 0.0, np.nan]), 4096) == 4


def test_the_critical_dimension_takes_the_pretraining_base_not_the_tuned_one():
    assert limits.critical_dimension(inv_freq(128, 1e6), 16384) == 74  # Code Llama read from its config
    assert limits.critical_dimension(inv_freq(128, 1e4), 4096) == 92
    assert limits.extrapolation_limit(128, 1e6, 1e4, 4096, 16384) == pytest.approx(129026.78274161)


@pytest.mark.parametrize(("base", "expected"), LLAMA2_LIMITS.items())
def test_limit_above_the_critical_base(base, expected):
    ceiled = limits.extrapolation_limit(128, base, 1e4, 4096)
    assert ceiled == pytest.approx(expected[0], rel=1e-11)
    assert ceiled == pytest.approx(2 * np.pi / inv_freq(128, base)[46], rel=1e-12)
    unceiled = limits.extrapolation_limit(128, base, 1e4, 4096, ceiled=False)
    assert unceiled == pytest.approx(expected[1], rel=1e-11)


@pytest.mark.parametrize(("tune_len", "bases"), [(4096, [1304.0, 2608.0, 1e4]), (16384, [1e4, 71_738.0])])
def test_limit_up_to_the_critical_base_is_the_tuning_length(tune_len, bases):
    assert [limits.extrapolation_limit(128, base, 1e4, 4096, tune_len) for base in bases] == [tune_len] * len(
        bases
    )


def test_the_ceiling_makes_the_limit_jump_at_the_critical_base():
    assert limits.extrapolation_limit(128, 71_739.0, 1e4, 4096, 16384) == pytest.approx(19420.2, abs=0.1)
    assert limits.extrapolation_limit(128, 71_739.0, 1e4, 4096, 16384, ceiled=False) == pytest.approx(
        16384.1, abs=0.1
    )


@pytest.mark.parametrize("base", [500.0, 652.0])
def test_no_bound_once_every_pair_is_trained(base):
    assert limits.tuned_critical_dimension(128, base, 4096) == 128
    assert limits.extrapolation_limit(128, base, 1e4, 4096) is None
    assert limits.extrapolation_limit(128, 1e6, base, 4096) is None


@pytest.mark.parametrize(
    ("tune_len", "expected"),
    [
        (4096, {500.0: 128, 652.0: 128, 1304.0: 116, 2608.0: 106, 5e3: 98, 1e4: 92}),
        (16384, {2608.0: 128, 5e3: 120, 1e4: 110, 2e4: 102, 4e4: 96, 6e4: 92}),
    ],
)
def test_dimensions_trained_by_tuning_never_exceed_the_head(tune_len, expected):
    assert {base: limits.tuned_critical_dimension(128, base, tune_len) for base in expected} == expected


@pytest.mark.parametrize(("pretrain_base", "train_len", "tune_len", "expected"), CRITICAL_BASES)
def test_critical_base_matches_released_checkpoints(pretrain_base, train_len, tune_len, expected):
    critical = limits.critical_base(pretrain_base, train_len, tune_len)
    assert critical == pytest.approx(expected, rel=1e-11)
    reaching = limits.critical_base_for_length(pretrain_base, train_len, tune_len)
    assert reaching == pytest.approx(critical, rel=1e-11)


@pytest.mark.parametrize(
    ("target_len", "expected"),
    [(16384, 56627.7967), (65536, 389653.28998713), (131072, 1022121.88989313), (1048576, 18449122.505896)],
)
def test_base_for_length_inverts_the_ceiled_limit(target_len, expected):
    base = limits.base_for_length(128, 1e4, 4096, target_len)
    assert base == pytest.approx(expected, rel=1e-9)
    assert limits.extrapolation_limit(128, base, 1e4, 4096) == pytest.approx(target_len)
    assert base < limits.critical_base_for_length(1e4, 4096, target_len)


@pytest.mark.parametrize(
    ("train_len", "factors"),
    [(4096, {8192: 4, 16384: 14, 24576: 31, 32768: 55}), (8192, {16384: 4, 32768: 13})],
)
def test_base_for_length_gives_the_factors_of_longllada(train_len, factors):
    found = {length: limits.base_for_length(128, 5e5, train_len, length) / 5e5 for length in factors}
    assert {length: math.ceil(factor) for length, factor in found.items()} == factors


@settings(max_examples=100)
@given(
    train_len=st.integers(64, 10**5),
    stretch=st.floats(1.01, 64.0),
    pretrain_base=st.floats(100.0, 1e6),
    turns=st.floats(0.5, 1.0),
)
def test_the_unceiled_law_and_its_inverse_agree_for_any_share_of_a_turn(
    train_len, stretch, pretrain_base, turns
):
    target = math.ceil(train_len * stretch)
    base = limits.critical_base_for_length(pretrain_base, train_len, target, turns)
    arguments = (4096, base, pretrain_base, train_len, train_len, turns)
    found = limits.extrapolation_limit(*arguments, ceiled=False)
    if base > pretrain_base and found is not None:
        assert found == pytest.approx(target, rel=1e-9)


def test_fewer_turns_reproduce_the_measured_one_parameter_law():
    for base, expected in ((4e4, 272), (1.6e5, 446), (1e6, 856)):
        limit = limits.extrapolation_limit(64, base, 1e4, 128, turns=1 / 1.3, ceiled=False)
        assert limit == pytest.approx(expected, abs=0.6)
    assert limits.critical_base(1e4, 128, 128, turns=1 / 1.3) == pytest.approx(1e4)
    assert limits.critical_dimension(inv_freq(64, 1e4), 128, turns=1 / 1.3) == 24  # 22 after full turns


def test_small_base_thresholds_are_quarter_half_and_full_turns():
    expected = [2607.5945876176, 1303.7972938088, 651.8986469044]
    np.testing.assert_allclose(limits.small_base_thresholds(4096), expected, rtol=1e-12)
    for base, share in zip(limits.small_base_thresholds(16384), (0.25, 0.5, 1.0), strict=True):
        assert 16384 / (2 * np.pi * base) == pytest.approx(share)


def test_scaled_frequencies_leave_their_angles_at_factor_times_the_training_length():
    before = inv_freq(128, 5e5)
    now = before.copy()
    now[limits.critical_pair(before, 8192) :] /= 8  # what Llama 3.1 does to its slow pairs
    assert limits.angle_range_limit(now, before, 8192) == pytest.approx(65_536)
    assert limits.angle_range_limit(now, inv_freq(128, 100.0), 8192) is None


def test_coverage_and_new_angles_of_llama2():
    frequencies = inv_freq(128, 1e4)
    covered = limits.coverage(frequencies, 4096)
    np.testing.assert_allclose(covered[[0, 45, 46, 63]], [1, 1, 0.869321, 0.0752801], rtol=1e-5)
    assert [int(np.sum(covered < share)) for share in (1, 1 / 2, 1 / 4)] == [18, 14, 9]
    new = limits.new_angle_fraction(frequencies, 4096, 8192)
    assert new[:46].max() == 0
    assert new[46:].mean() == pytest.approx(0.240128, abs=1e-6)
    for length in (65_536, 1_048_576):
        fraction = limits.new_angle_fraction(frequencies, 4096, length)
        assert fraction[46:].mean() == pytest.approx(0.666701, abs=1e-6)
        np.testing.assert_allclose(fraction[[46, 63]], [0.130679, 0.924720], atol=1e-6)
    padded = limits.coverage(np.array([[1.0, np.nan], [0.0, 1e-9]]), 4096)
    assert padded[1].tolist() == pytest.approx([0.0, 4096e-9 / (2 * np.pi)])
    assert np.isnan(padded[0, 1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: limits.critical_pair(inv_freq(8, 1e4), 1), "train_len must be at least 2"),
        (lambda: limits.critical_dimension_closed_form(8, 1.0, 4096), "base must be .* above 1"),
        (lambda: limits.critical_dimension_closed_form(7, 1e4, 4096), "even, two to a pair: got 7"),
        (lambda: limits.critical_dimension(inv_freq(8, 1e4), 64, turns=0.0), "turns must be above 0"),
        (lambda: limits.critical_base(1e4, 4096, 2048), "at least train_len, 4096: got 2048"),
        (lambda: limits.critical_base(1e4, 6, 2048), "must exceed 6.283"),
        (lambda: limits.critical_base(0.5, 4096, 8192), "pretrain_base must be"),
        (lambda: limits.extrapolation_limit(128, 1e6, 0.5, 4096), "pretrain_base must be"),
        (lambda: limits.base_for_length(127, 1e4, 4096, 8192), "got 127"),
        (lambda: limits.small_base_thresholds(0), "tune_len must be"),
    ],
)
def test_numbers_outside_the_laws_are_refused(call, message):
    with pytest.raises(ConfigError, match=message):
        call()

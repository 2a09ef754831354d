"""The table of limits repeats the verdicts, and names a scaling rule from the frequencies alone."""

import numpy as np
import pytest

from ropediag import open_capture
from ropediag.analysis.limit_table import describe_scaling, tabulate_limits
from ropediag.analysis.verdict import judge_capture
from ropediag.limits import critical_base
from ropediag.rope import RopeSpec, inv_freq, uniform_spec
from ropediag.scaling import ntk_base, scale_linear, yarn_inv_freq
from tests.analysis.captures import EXAMPLE

BASE = 10_000.0


def make_spec(frequencies, base=BASE):
    return uniform_spec(2, 64, frequencies, "half", base=base)


@pytest.mark.parametrize(
    ("frequencies", "expected"),
    [
        (inv_freq(64, BASE), "none"),
        (inv_freq(64, BASE).astype("float32").astype(float), "none"),
        (scale_linear(inv_freq(64, BASE), 4.0), "all pairs 4 times slower"),
        (yarn_inv_freq(64, BASE, 8.0, 128), "pairs 1 to 8 times slower"),
        (inv_freq(64, float(round(ntk_base(64, BASE, 4.0)))), f"as base {round(ntk_base(64, BASE, 4.0)):,}"),
    ],
)
def test_a_scaling_rule_is_read_off_the_frequencies(frequencies, expected):
    assert describe_scaling(make_spec(frequencies)) == expected


def test_layers_of_two_bases_are_plain_and_layers_without_rope_are_named():
    channels = uniform_spec(2, 64, inv_freq(64, BASE), "half").channels
    rows = np.stack([inv_freq(64, BASE), inv_freq(64, 1e6)])
    two = RopeSpec(rows, channels, np.ones(2), np.full(2, 64), "half", base=1e6)
    assert describe_scaling(two) == "none"
    still = RopeSpec(np.zeros((2, 32)), channels, np.ones(2), np.full(2, 64), "half", base=BASE)
    assert describe_scaling(still) == "no rotation"
    assert describe_scaling(make_spec(inv_freq(64, BASE), base=None)) == "unknown base"


def test_a_row_repeats_the_verdict_of_its_capture():
    tuned = EXAMPLE.with_name("example-tuned-b160000-8192.h5")
    with open_capture(EXAMPLE) as one, open_capture(tuned) as other:
        captures = {"untuned": one, "tuned": other}
        verdicts = {name: judge_capture(each) for name, each in captures.items()}
        table = tabulate_limits(verdicts, {name: each.spec() for name, each in captures.items()})
    for name, verdict in verdicts.items():
        row = table.sel(capture=name)
        assert float(row.base) == verdict.base
        assert float(row.predicted) == verdict.predicted_limit
        assert float(row.measured) == verdict.measured_limit
        assert (float(row.measured_low), float(row.measured_high)) == (
            verdict.measured_limit_low,
            verdict.measured_limit_high,
        )
        assert float(row.onset_pair) == verdict.onset_pair
        assert row.scaling.item() == "none"
        assert bool(row.past_critical_base) == (verdict.base > critical_base(1e4, 128, 128))
    assert table.past_critical_base.values.tolist() == [False, True]

"""The unseen swing against its closed form and against cosines one by one."""

import math

import numpy as np
import pytest

from ropediag.errors import ConfigError
from ropediag.unseen_swing import unseen_swing


@pytest.mark.parametrize("turns", [0.5, 0.6, 0.75, 0.9, 1.0, 3.0])
def test_from_half_a_turn_on_it_is_the_closed_form(turns):
    """At most one extremum lies in the rest of the circle, anywhere in it: (a - 2 sin(a / 2)) / pi."""
    rest = 2 * math.pi * (1 - min(turns, 1))
    expected = (rest - 2 * math.sin(rest / 2)) / math.pi
    assert unseen_swing(np.array([turns]))[0] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("reach", [1.0, 2.0, 5.0, np.inf])
def test_it_is_what_random_cosines_leave_their_range_by(reach):
    random = np.random.default_rng(0)
    for turns in (0.05, 0.2, 0.4, 0.7, 1.3):
        found = []
        for phase in random.uniform(0, 2 * math.pi, 400):
            end = min(turns * reach, 1.0)
            seen = [math.cos(phase + 2 * math.pi * min(turns, 1) * step / 200) for step in range(201)]
            shown = [
                math.cos(phase + 2 * math.pi * max(end, min(turns, 1)) * step / 200) for step in range(201)
            ]
            found.append(max(0.0, max(shown) - max(seen), min(seen) - min(shown)))
        margin = 4 * np.std(found) / 20 + 2e-3
        assert unseen_swing(np.array([turns]), reach)[0] == pytest.approx(np.mean(found), abs=margin)


def test_the_figures_of_the_text():
    assert unseen_swing(np.array([0.75, 0.5])) == pytest.approx([0.050, 0.363], abs=1e-3)
    assert unseen_swing(np.array([1.0, 2.0])) == pytest.approx([0, 0], abs=1e-4)


@pytest.mark.parametrize(
    ("turns", "reach", "words"),
    [(-0.1, 2.0, "at least 0: got"), (np.nan, 2.0, "numbers of"), (0.5, 0.9, "at least 1, the training")],
)
def test_what_makes_no_arc_is_refused(turns, reach, words):
    with pytest.raises(ConfigError, match=words):
        unseen_swing(np.array([turns]), reach)

"""Knees: one pair let go, all others held, against interventions written out pair by pair."""

import numpy as np
import pytest

from ropediag.errors import ConfigError
from ropediag.intervene import Intervention, ablate_model, intervene
from ropediag.intervene.config import AblateConfig
from ropediag.intervene.knee import SAFE, STEPS
from ropediag.models.loss import decode, nll_by_position
from ropediag.theory.phases import PhaseSpec
from tests.families import tiny_model, tokens

LENGTH, TRAINED = 64, 16


def test_a_knee_is_the_damage_of_the_pair_that_is_let_go():
    model, ids = tiny_model("llama"), tokens(LENGTH)
    phases = (PhaseSpec(TRAINED, 1e4),)
    found = ablate_model(model, ids, phases=phases, random=0, knee=(2, 3))
    assert [(knee.pair, knee.at) for knee in found.knees] == [(pair, at) for pair in (2, 3) for at in STEPS]
    reach = found.sets[0].reach
    for knee in found.knees:
        losses = []
        for at in (SAFE, knee.at):
            limits = {
                place: {pair: value * (at if pair == knee.pair else SAFE) for pair, value in own.items()}
                for place, own in reach.items()
            }
            with intervene(model, Intervention("clip", limits=limits), length=LENGTH):
                losses.append(nll_by_position(model, ids, decode(model, ids))[0, TRAINED:].mean())
        assert knee.damage.value == pytest.approx(losses[1] - losses[0], abs=1e-6)
    assert found.knees[0].damage.value == 0
    assert np.abs([knee.damage.value for knee in found.knees]).max() > 1e-3
    assert found.figures()["knees"][1]["at"] == STEPS[1]


def test_a_pair_that_is_not_held_is_refused():
    phases = (PhaseSpec(TRAINED, 1e4),)
    with pytest.raises(ConfigError, match="pair 0 is not among"):
        ablate_model(tiny_model("llama"), tokens(LENGTH), phases=phases, random=0, knee=(0,))


@pytest.mark.parametrize("options", [{"limit": 9}, {"kind": "zero"}])
def test_a_knee_goes_by_the_reach(options):
    with pytest.raises(ConfigError, match="knee goes by the trained reach"):
        AblateConfig("demo", 256, knee=(12,), **options)

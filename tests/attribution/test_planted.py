"""A planted truth: a pair of one head, damaged beyond its reach by hand, where nothing else is broken.

The bundled model reads 128 tokens, 64 stated as its training, and loses nothing there. The query of one pair
is made a constant before the rotation, and the key the opposite one, so that the pair contributes
-A cos(frequency x lag) to each logit, whatever the text: a bias against near keys that turns into one for far
keys beyond the stated 64 tokens.
"""

import numpy as np
import pytest

from ropediag import load_model
from ropediag.analysis.attribution import list_top
from ropediag.attribution import AttributeConfig, attribute_model
from ropediag.models.inputs import read_inputs
from ropediag.theory.phases import PhaseSpec

FALSE = (PhaseSpec(64, 1e4),)
LAYER, HEAD, PAIR, STRENGTH = 2, 0, 14, 8.0


def plant(model) -> None:
    attention = model.model.layers[LAYER].self_attn
    one = HEAD * attention.head_dim + PAIR
    for projection, sign in ((attention.q_proj, 1), (attention.k_proj, -1)):

        def replace(module, given, made, sign=sign):
            made = made.clone()
            made[..., one], made[..., one + attention.head_dim // 2] = sign * STRENGTH, 0
            return made

        projection.register_forward_hook(replace)


@pytest.fixture(scope="module")
def tables():
    """What the model costs without and with the plant."""
    _, ids = read_inputs(AttributeConfig("demo", 128, phases=FALSE, sequences=8))
    found = []
    for planted in (False, True):
        model = load_model("demo").model
        if planted:
            plant(model)
        found.append(attribute_model(model, ids, phases=FALSE).table)
    return found


def test_the_planted_pair_leads_by_far(tables) -> None:
    _, planted = tables
    first, second = list_top(planted, 2)
    assert (first["layer"], first["query_head"], first["pair"]) == (LAYER, HEAD, PAIR)
    assert first["low"] > 0.02
    assert first["nats"] > 10 * second["nats"]
    assert float(planted.total) == pytest.approx(float(planted.difference), rel=0.02)


def test_no_other_part_rises_beyond_its_interval(tables) -> None:
    before, planted = tables
    rise = planted.cost_low - before.cost_high
    rise.loc[{"layer": LAYER, "query_head": HEAD, "pair": PAIR}] = np.nan
    assert float(rise.max()) <= 1e-6

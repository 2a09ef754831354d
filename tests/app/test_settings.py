"""Settings in the URL: what is read, how they are named, and which field an error belongs to."""

import pytest

from ropediag.app.pages._calculator import PRESETS
from ropediag.app.pages._settings import (
    Fault,
    list_predictions,
    name_settings,
    predict_setting,
    read_settings,
)
from ropediag.errors import ConfigError
from ropediag.prediction import predict

TUNED = "pretrain-10000_train-4096_base-1e6_tune-16384_rotary-128_target-131072"


def test_a_setting_of_the_url_is_predicted_as_from_its_numbers():
    (setting,) = read_settings(TUNED)
    expected = predict(
        pretrain_base=1e4,
        train_len=4096,
        base=1e6,
        tune_len=16384,
        rotary_dim=128,
        target_len=131072,
        retrieval=False,
    )
    assert predict_setting(setting) == expected
    (scaled,) = read_settings("pretrain-1e4_train-4096_rotary-128_rule-yarn_factor-4_turns-0.77")
    rule = {"scaling": "yarn", "factor": 4.0, "turns": 0.77, "retrieval": False}
    assert predict_setting(scaled) == predict(
        base=1e4, pretrain_base=1e4, train_len=4096, rotary_dim=128, **rule
    )


def test_what_is_no_field_is_left_out_and_four_are_read():
    assert read_settings("base-1e4_colour-red_x*base-2e4") == [(("base", "1e4"),), (("base", "2e4"),)]
    assert len(read_settings("*".join(["base-1e4"] * 7))) == 4
    assert read_settings("base--5") == [(("base", "-5"),)]


def test_names_say_what_sets_settings_apart():
    settings = read_settings("base-10000_train-4096*base-1e6_train-4096_rule-ntk_factor-2")
    assert name_settings(settings) == ["A: base 10,000", "B: base 1e6, scaling rule ntk, factor 2"]
    assert name_settings(settings[:1]) == ["A"]


@pytest.mark.parametrize(
    ("change", "key", "words"),
    [
        ({"train": "4k"}, "train", "not a number"),
        ({"train": "1e30"}, "train", "too large"),
        ({"train": "nan"}, "train", "too large"),
        ({"train": "4096.5"}, "train", "a whole number"),
        ({"train": "1"}, "train", "got 1"),
        ({"train": ""}, "train", "needed"),
        ({"rotary": ""}, "rotary", "needed"),
        ({"rotary": "127"}, "rotary", "got 127"),
        ({"rotary": "5000"}, "rotary", "too large"),
        ({"base": "0.5"}, "base", "got 0.5"),
        ({"base": "inf"}, "base", "got inf"),
        ({"base": "", "pretrain": ""}, "base", "a base is needed"),
        ({"pretrain": "1"}, "pretrain", "got 1.0"),
        ({"target": "1"}, "target", "got 1"),
        ({"turns": "0"}, "turns", "got 0"),
        ({"rule": "yarn"}, "factor", "go together"),
        ({"factor": "2"}, "factor", "go together"),
        ({"rule": "own", "factor": "2"}, "rule", "one of linear"),
        ({"rule": "yarn", "factor": "0.5"}, "factor", "at least 1"),
    ],
)
def test_an_error_belongs_to_the_field_to_mend(change, key, words):
    good = {"pretrain": "10000", "train": "4096", "base": "1e6", "tune": "4096", "rotary": "128"}
    given = {name: value for name, value in (good | change).items() if value}
    found = predict_setting(tuple(given.items()))
    assert isinstance(found, Fault)
    assert (found.key, words in found.message) == (key, True), found


def test_settings_that_cannot_be_computed_are_left_out():
    assert list(list_predictions(f"{TUNED}*base-x")) == [name_settings(read_settings(f"{TUNED}*base-x"))[0]]
    with pytest.raises(ConfigError, match="mend the fields"):
        list_predictions("base-x")


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_can_be_computed(name):
    assert len(list_predictions(PRESETS[name])) == len(read_settings(PRESETS[name]))

"""The facts and the command of a file are what the file says, quoted for a shell."""

import json
import math
import shlex

import pytest

from ropediag import open_capture
from ropediag.config import CaptureConfig, parse_phase
from ropediag.evaluate.config import EvaluateConfig
from ropediag.intervene.config import AblateConfig
from ropediag.recipe import write_command
from ropediag.report.made import list_facts
from ropediag.theory.phases import PhaseSpec
from tests.analysis.captures import EXAMPLE


def test_the_command_of_the_shipped_capture_makes_it_again():
    with open_capture(EXAMPLE) as capture:
        command = write_command("capture", capture.attrs["config"])
    assert command == "ropediag capture --model demo --len 8192 --sequences 8"


def test_every_field_that_decides_the_numbers_is_a_flag():
    from pathlib import Path

    config = CaptureConfig(
        model="a b", length=100, text=(Path("one"), Path("two three")), sequences=2, layers=(0, 3),
        dtype="bfloat16", attention="eager", rows=4, seed=5, train_len=16, pretrain_base=500.5,
        keep_qk=((1, 2), (3, 4)), store_tokens=False, excess=False,
    )  # fmt: skip
    words = shlex.split(write_command("capture", config.recipe()))
    assert words[:6] == ["ropediag", "capture", "--model", "a b", "--len", "100"]
    for flag, *values in (
        ("--text", "one", "two three"), ("--layers", "0,3"), ("--dtype", "bfloat16"), ("--attn", "eager"),
        ("--rows", "4"), ("--seed", "5"), ("--train-len", "16"), ("--pretrain-base", "500.5"),
        ("--keep-qk", "1:2", "3:4"),
    ):  # fmt: skip
        assert [words[place + 1] for place, word in enumerate(words) if word == flag] == values, flag
    assert {"--no-tokens", "--no-excess"} <= set(words)


@pytest.mark.parametrize("kind", [CaptureConfig, EvaluateConfig, AblateConfig])
def test_phases_are_given_as_they_were(kind):
    phases = (
        PhaseSpec(512, label="pretraining", source="--phase"),
        PhaseSpec(2048, 160000.0, {"rope_type": "yarn", "factor": 4.0}, 1024, source="--phase"),
        PhaseSpec(4096, rule="own", window="all", source="--phase"),
    )
    words = shlex.split(write_command("capture", kind(model="demo", length=300, phases=phases).recipe()))
    typed = [words[place + 1] for place, word in enumerate(words) if word == "--phase"]
    assert tuple(map(parse_phase, typed)) == phases
    tuned = kind(model="demo", length=300, train_len=512, tune_len=2048).recipe()
    assert "--train-len 512 --tune-len 2048" in write_command("capture", tuned)


def test_an_evaluation_is_made_again_with_its_own_flags():
    config = EvaluateConfig(model="demo", length=300, trials=0, window=64, log_attention=True, bos=False)
    assert write_command("evaluate", config.recipe()) == (
        "ropediag evaluate --model demo --len 300 --trials 0 --sequences 1 --no-bos --window 64 "
        "--log-attention"
    )
    usual = write_command("evaluate", EvaluateConfig(model="demo", length=300).recipe())
    assert usual == "ropediag evaluate --model demo --len 300 --sequences 1"


def test_a_limit_of_0_and_no_random_sets_are_said():
    config = {"kind": "clip", "limit": 0, "random": 0, "pairs": [1, 2], "search": None, "trials": 0}
    assert write_command("ablate", json.dumps(config)) == (
        "ropediag ablate --kind clip --pairs 1,2 --limit 0 --random 0"
    )


def test_a_curve_is_made_again_and_an_older_clip_at_the_limit_it_had():
    config = AblateConfig(model="demo", length=512, kind="fold", at=(0.7, 1.0), random=0)
    assert write_command("ablate", config.recipe()) == (
        "ropediag ablate --model demo --len 512 --kind fold --pairs past --at 0.7,1.0 --random 0 "
        "--sequences 8"
    )
    older = json.dumps({"kind": "clip", "limit": None, "pairs": "past"})
    for figures, said in (({"limit": 127}, " --limit 127"), ({"limit": None}, "")):
        command = write_command("ablate", older, json.dumps(figures))
        assert command == f"ropediag ablate --kind clip --pairs past{said}"
    assert write_command("ablate", older, "[1]") is None


def test_nothing_in_the_command_leaves_its_word():
    model = "x; rm -rf ~ && $(id) `id` 'q'\nnext"
    assert shlex.split(write_command("capture", json.dumps({"model": model}))) == [
        "ropediag", "capture", "--model", model,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "config",
    [
        None, "{", "[1]", "3", "{}", '{"keep_qk": [1]}', '{"text": 3}', "[" * 10**5,
        '{"phases": [1]}', '{"phases": [{"length": -1}]}', '{"phases": [{"len": 5}]}',
    ],
)  # fmt: skip
def test_a_configuration_that_cannot_be_used_gives_no_command(config):
    assert write_command("capture", config) is None


def test_facts_leave_out_what_is_not_known():
    facts = dict(list_facts({"model": "m", "base": math.nan, "seed": 0, "length": 8192, "device": ""}, 3))
    assert facts == {"model": "m", "sequences": "3", "seed": "0", "length, tokens": "8,192"}

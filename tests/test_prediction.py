"""Predictions from flags, configs and checkpoint folders, and the command that prints them."""

import json
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from ropediag import limits
from ropediag.cli import build_app, main
from ropediag.errors import ConfigError
from ropediag.limits import FITTED_TURNS
from ropediag.prediction import predict

FLAGS = ["--base", "1e6", "--pretrain-base", "1e4", "--train-len", "4096", "--rotary-dim", "128"]
LLAMA = {
    "model_type": "llama",
    "hidden_size": 4096,
    "num_attention_heads": 32,
    "num_hidden_layers": 2,
    "max_position_embeddings": 16384,
    "rope_theta": 1e6,
}
LLAMA31 = {
    **LLAMA,
    "rope_theta": 5e5,
    "max_position_embeddings": 131072,
    "rope_scaling": {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    },
}


@pytest.fixture
def checkpoint(tmp_path):
    def write(config, metadata=None):
        (tmp_path / "config.json").write_text(json.dumps(config))
        if metadata is not None:
            (tmp_path / "ropediag.json").write_text(json.dumps(metadata))
        return tmp_path

    return write


def run(*arguments):
    return CliRunner().invoke(build_app(), ["predict", *map(str, arguments)], env={"COLUMNS": "80"})


def test_code_llama_from_numbers_alone():
    found = predict(base=1e6, pretrain_base=1e4, train_len=4096, tune_len=16384, rotary_dim=128)
    assert (found.critical_dimension, found.tuned_critical_dimension) == (92, 74)
    assert found.predicted_limit == pytest.approx(129026.78274161)
    assert found.critical_base == pytest.approx(71738.4362001)
    assert found.retrieval_bound == 27115
    first = found.first_untrained
    assert (first.pair, first.channels) == (46, (46, 110))
    assert first.period == pytest.approx(found.predicted_limit)
    assert first.pretrain_period == pytest.approx(4711.724278)
    assert first.coverage == pytest.approx(0.869321, abs=1e-6)


def test_an_unmodified_base_reaches_its_training_length():
    found = predict(base=1e4, train_len=4096, rotary_dim=128)
    assert (found.predicted_limit, found.law) == (4096, "unmodified base: the training length")
    assert (found.pretrain_base, found.sources["pretrain_base"]) == (1e4, "same as base")


def test_small_bases_have_no_predicted_limit_and_may_have_a_first_reach():
    soft = predict(base=1304.0, pretrain_base=1e4, train_len=4096, tune_len=4096, rotary_dim=128)
    assert soft.predicted_limit is None
    assert "below that of pretraining" in soft.law
    assert soft.first_untrained.pair == 58  # tuning trained 116 dimensions
    assert soft.first_reach == 4096
    free = predict(base=500.0, pretrain_base=1e4, train_len=4096, tune_len=4096, rotary_dim=128)
    assert (free.predicted_limit, free.first_untrained) == (None, None)
    assert free.retrieval_bound == 171  # low loss is not retrieval


def test_turns_shift_every_count():
    found = predict(base=1e6, pretrain_base=1e4, train_len=128, rotary_dim=64, turns=1 / 1.3)
    assert found.critical_dimension == 24
    assert found.first_untrained.pair == 12
    assert found.predicted_limit == limits.extrapolation_limit(64, 1e6, 1e4, 128, turns=1 / 1.3)
    assert (
        found.predicted_limit
        > predict(base=1e6, pretrain_base=1e4, train_len=128, rotary_dim=64).predicted_limit
    )


def test_the_target_names_bases_that_reach_it():
    found = predict(base=1e6, pretrain_base=1e4, train_len=4096, rotary_dim=128, target_len=131072)
    target = found.target
    assert not target.reached
    assert target.base == pytest.approx(1022121.8899)
    assert target.cautious_base == pytest.approx(1378414.2797)
    assert limits.extrapolation_limit(128, target.base * 1.0001, 1e4, 4096) >= 131072
    assert target.retrieval_base == pytest.approx(9.7e6, rel=0.1)
    assert target.retrieval_base_all > target.retrieval_base
    assert predict(
        base=1e6, pretrain_base=1e4, train_len=4096, rotary_dim=128, target_len=2**16
    ).target.reached


def test_a_target_just_past_training_still_needs_the_critical_base():
    target = predict(base=1e4, train_len=4096, rotary_dim=128, target_len=4200).target
    assert target.base == 1e4
    assert limits.extrapolation_limit(128, target.base + 1, 1e4, 4096) >= 4200


def test_a_folder_states_what_its_config_cannot(checkpoint):
    folder = checkpoint(LLAMA, {"base": 1e6, "pretrain_base": 1e4, "train_len": 4096, "tune_len": 16384})
    for path in (folder, folder / "config.json"):
        found = predict(path)
        assert (found.critical_dimension, found.tune_len) == (92, 16384)
        assert found.predicted_limit == pytest.approx(129026.78274161)
        assert found.sources == {
            "base": "config.json",
            "pretrain_base": "ropediag.json",
            "train_len": "ropediag.json",
            "tune_len": "ropediag.json",
        }
        assert found.notes == ()
    changed = predict(folder, train_len=4096, base=2e6)
    assert (changed.train_len, changed.sources["train_len"], changed.base) == (4096, "ropediag.json", 2e6)
    assert changed.notes == ("ropediag.json records base 1,000,000, not the 2,000,000 used here",)


@pytest.mark.parametrize("name", ["train_len", "tune_len"])
def test_a_length_that_contradicts_the_record_is_refused_and_both_are_named(checkpoint, name):
    folder = checkpoint(LLAMA, {"base": 1e6, "pretrain_base": 1e4, "train_len": 4096, "tune_len": 16384})
    with pytest.raises(ConfigError, match=rf"{name} is 2,048 by its flag and .* ropediag.json"):
        predict(folder, **{name: 2048})


def test_what_a_tuning_of_an_untuned_model_would_do_may_be_asked(checkpoint):
    folder = checkpoint(LLAMA, {"base": 1e6, "pretrain_base": 1e4, "train_len": 4096, "tune_len": 4096})
    assert predict(folder, tune_len=16384).tune_len == 16384


@pytest.mark.parametrize("value", ["128", True, 128.5, [128], None])
def test_a_record_that_holds_no_length_is_named_and_no_traceback(checkpoint, value):
    folder = checkpoint(LLAMA, {"train_len": value, "tune_len": 16384})
    if value is None:
        assert predict(folder, train_len=128).train_len == 128
    else:
        with pytest.raises(ConfigError, match="train_len must be a whole number of tokens"):
            predict(folder, train_len=128)


def test_a_scaled_config_uses_its_original_length_and_angle_range(checkpoint):
    found = predict(checkpoint(LLAMA31))
    assert (found.train_len, found.sources["train_len"]) == (8192, "original_max_position_embeddings")
    assert (found.critical_dimension, found.rule) == (70, "llama3")
    assert found.predicted_limit == pytest.approx(65_536)
    assert (found.first_untrained.pair, round(found.first_untrained.period)) == (35, 65_750)
    assert predict(checkpoint(LLAMA31), tune_len=131072).predicted_limit == 131072


def test_the_layers_that_see_everything_decide(checkpoint):
    config = {
        **LLAMA,
        "model_type": "mixed_by_layer",  # of no class
        "num_hidden_layers": 6,
        "sliding_window": 1024,
        "layer_types": ["sliding_attention"] * 6,
    }
    windowed = predict(checkpoint(config), train_len=4096)
    assert (windowed.predicted_limit, windowed.first_untrained) == (None, None)
    config["layer_types"][5] = "full_attention"
    config["layer_types"][2] = "linear_attention"
    config["rope_parameters"] = {
        "sliding_attention": {"rope_theta": 1e4},
        "full_attention": {"rope_theta": 5e5},
        "linear_attention": None,
    }
    found = predict(checkpoint(config), train_len=4096)
    assert (found.base, found.predicted_limit) == (5e5, 4096)
    assert found.notes == (
        "1 of 6 layers have no RoPE and are left out",
        "4 of 6 layers see a window of 1,024 tokens only and are left out",
        "transformers has no class for model_type 'mixed_by_layer': where config.json states no rotated "
        "share, whole heads rotate; where it states no window, layers see everything",
    )


def test_rules_that_follow_the_length_are_taken_at_the_target(checkpoint):
    config = {**LLAMA, "rope_theta": 1e4, "max_position_embeddings": 4096}
    config["rope_scaling"] = {"rope_type": "dynamic", "factor": 1.0}
    assert predict(checkpoint(config), train_len=4096).predicted_limit == 4096
    stretched = predict(checkpoint(config), train_len=4096, target_len=16384)
    assert 4096 < stretched.predicted_limit < 16384
    assert "taken at 16,384 tokens" in stretched.notes[0]


def test_at_last_max_position_embeddings_is_taken_and_called_an_assumption(checkpoint):
    found = predict(checkpoint(LLAMA))
    assert (found.train_len, found.predicted_limit) == (16384, 16384)
    assert found.sources["train_len"] == "max_position_embeddings, an assumption"
    with pytest.raises(ConfigError, match=r"the training length is not known.*--train-len"):
        predict(checkpoint({**LLAMA, "model_type": "of_no_class", "max_position_embeddings": None}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"base": 1.0}, "above 1: got 1.0"),
        ({"rotary_dim": 127}, "even number: got 127"),
        ({"train_len": 1}, "train_len must be at least 2 tokens: got 1"),
        ({"target_len": 1}, "at least 2 tokens: got 1"),
        ({"turns": 0.0}, "turns must be above 0"),
        ({"train_len": None}, "Pass --train-len"),
        ({"base": None}, "there is no base"),
        ({"rotary_dim": None}, "there is no rotary_dim"),
    ],
)
def test_bad_numbers_are_refused(change, message):
    good = {"base": 1e6, "pretrain_base": 1e4, "train_len": 4096, "rotary_dim": 128}
    with pytest.raises(ConfigError, match=message):
        predict(**{**good, **change})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", "{", "is not JSON"),
        ("config.json", "[]", "must hold a JSON object: got a list"),
        ("config.json", '{"model_type": "gpt2"}', "no RoPE in this config"),
        ("ropediag.json", '{"train_len": "4k"}', "train_len must be a whole number.*'4k' from ropediag.json"),
        ("ropediag.json", '{"train_len": NaN}', "train_len must be a whole number.*nan from ropediag.json"),
        ("ropediag.json", '{"train_len": 1e999}', "train_len must be a whole number.*inf from ropediag.json"),
        (
            "ropediag.json",
            '{"train_len": 512, "pretrain_base": NaN}',
            "pretrain_base must be a finite number",
        ),
        ("config.json", "[" * 100_000, "is not JSON"),
        ("config.json", "\udc80", "is not JSON"),
        ("config.json", '{"model_type": ["llama"]}', "model_type in the config must be a text"),
    ],
)
def test_bad_files_are_refused(checkpoint, name, content, message):
    folder = checkpoint(LLAMA)
    (folder / name).write_text(content, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(ConfigError, match=message):
        predict(folder)


def test_a_capture_is_not_taken_for_a_config():
    with pytest.raises(ConfigError, match=r"captures/demo\.h5 is a ropediag file by its name.*ropediag info"):
        predict("captures/demo.h5", train_len=128)


def test_a_path_must_exist_and_agree_with_the_flags(checkpoint, tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read .*nowhere"):
        predict(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="--rotary-dim is 64, but"):
        predict(checkpoint(LLAMA), train_len=4096, rotary_dim=64)


def test_the_command_prints_a_table_that_fits_80_columns():
    result = run(*FLAGS, "--target-len", "131072")
    assert result.exit_code == 0
    rows = {line[:19].strip(): line[19:] for line in result.output.splitlines()}
    assert "92 of 128" in rows["critical dimension"]
    assert "129,027 tokens" in rows["predicted limit"]
    assert "pair 46, channels 46 and 110" in rows["breaks first"]
    assert "27,115 tokens" in rows["retrieval bound"]
    assert max(map(len, result.output.splitlines())) <= 80


def test_the_command_prints_every_figure_as_json():
    figures = json.loads(run(*FLAGS, "--json").output)
    assert figures["critical_dimension"] == 92
    assert figures["predicted_limit"] == pytest.approx(129026.78274161)
    assert figures["first_untrained"]["channels"] == [46, 110]


def test_what_the_user_can_mend_is_one_line_and_status_2(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["ropediag", "predict", "--base", "1", "--rotary-dim", "128"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_predicting_never_loads_torch_and_the_command_loads_nothing_early():
    early = "import sys, ropediag.cli.predict; unwanted = {'numpy', 'torch', 'rich.table'}"
    late = "import sys; from ropediag.prediction import predict; unwanted = {'torch', 'transformers', 'rich'}"
    late += "; predict(base=1e6, train_len=64, rotary_dim=8)"
    for program in (early, late):
        checked = f"{program}; assert not unwanted & set(sys.modules)"
        subprocess.run([sys.executable, "-c", checked], check=True)


def test_the_fitted_limit_stands_beside_the_law_for_plain_frequencies_alone():
    numbers = {"base": 1e6, "pretrain_base": 1e4, "train_len": 4096, "rotary_dim": 128}
    found = predict(**numbers)
    turns = np.log(4096 / 2 / np.pi / FITTED_TURNS) / np.log(1e4)
    assert found.fitted_limit == pytest.approx(2 * np.pi * 1e6**turns)
    assert found.predicted_limit == predict(**numbers, turns=1.0).predicted_limit
    assert predict(**numbers | {"base": 1e4}).fitted_limit == 4096
    assert predict(**numbers | {"base": 1e4}, scaling="yarn", factor=4).fitted_limit is None


def test_a_runtime_warning_of_our_own_modules_is_an_error_in_the_tests():
    divide = compile("import numpy as np\nnp.zeros(1) / 0", "divide.py", "exec")
    with pytest.raises(RuntimeWarning):
        exec(divide, {"__name__": "ropediag.capture.vectors"})
    with pytest.warns(RuntimeWarning):
        exec(divide, {"__name__": "another_package.module"})


def test_the_retrieval_bound_is_no_prediction_within_the_trained_length():
    """LLaMA2 as pretrained: the bound, 1,707 tokens, lies within the 4,096 at which it was trained."""
    shared = ("--train-len", 4096, "--rotary-dim", 128, "--target-len", 131072)
    within, past = (run("--base", base, *extra, *shared).output for base, extra in (
        (10_000, ()), (1_000_000, ("--pretrain-base", 10_000)),
    ))  # fmt: skip
    assert "1,707 tokens (first B_m < 0), within the trained length" in " ".join(within.split())
    assert "in doubt" not in within
    assert "in doubt from 27,115 tokens on" in past
    assert "within the trained length" not in past

"""Published training of released models: the arithmetic of each row, and what matches a row."""

import numpy as np
import pytest

from ropediag.checkpoint import NO_FLAGS, TrainingFlags, resolve_training
from ropediag.rope import inv_freq
from ropediag.rope_config import read_layers, widest_layers
from ropediag.scaling import yarn_inv_freq
from ropediag.theory.phases import ASSUMED, OWN, PhaseSpec
from ropediag.theory.published import PUBLISHED, find_published

LLAMA3_RULE = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}  # fmt: skip
GEMMA3_RULE = {"rope_type": "linear", "factor": 8.0}


def config(kind, shape, vocabulary, base, length, **other):
    """A config.json's entries that count here; shape is width, layers, heads."""
    width, layers, heads = shape
    return {
        "model_type": kind, "hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads,
        "vocab_size": vocabulary, "rope_theta": base, "max_position_embeddings": length, **other,
    }  # fmt: skip


GEMMA3 = {
    "head_dim": 256, "sliding_window": 1024, "sliding_window_pattern": 6, "rope_local_base_freq": 1e4,
    "rope_scaling": GEMMA3_RULE,
}  # fmt: skip
# As the released config.json files state them, with what their classes set.
LLAMA1 = config("llama", (4096, 32, 32), 32000, 1e4, 2048)
LLAMA2 = config("llama", (4096, 32, 32), 32000, 1e4, 4096)
CODE_LLAMA = config("llama", (4096, 32, 32), 32016, 1e6, 16384)
CODE_LLAMA_PYTHON = config("llama", (4096, 32, 32), 32000, 1e6, 16384)
LLAMA3 = config("llama", (4096, 32, 32), 128256, 5e5, 8192)
LLAMA31 = config("llama", (4096, 32, 32), 128256, 5e5, 131072, rope_scaling=LLAMA3_RULE)
MISTRAL = config("mistral", (4096, 32, 32), 32000, 1e4, 32768, sliding_window=4096)
QWEN25 = config("qwen2", (3584, 28, 28), 152064, 1e6, 131072, sliding_window=131072, use_sliding_window=False)
QWEN3 = config("qwen3", (1024, 28, 16), 151936, 1e6, 40960, head_dim=128, use_sliding_window=False)
GEMMA2 = config("gemma2", (2304, 26, 8), 256000, 1e4, 8192, head_dim=256, sliding_window=4096)
GEMMA3_1B = config(
    "gemma3_text", (1152, 26, 4), 262144, 1e6, 32768,
    **{**GEMMA3, "sliding_window": 512, "rope_scaling": None},
)  # fmt: skip
GEMMA3_4B = config("gemma3_text", (2560, 34, 8), 262208, 1e6, 131072, **GEMMA3)
SMOLLM = config("llama", (576, 30, 9), 49152, 1e4, 2048)
SMOLLM2 = config("llama", (576, 30, 9), 49152, 1e5, 8192)
SMOLLM2_LARGE = config("llama", (2048, 24, 32), 49152, 1.3e5, 8192)
SMOLLM3 = config("smollm3", (2048, 36, 16), 128256, 5e6, 65536, no_rope_layers=[1, 1, 1, 0] * 9)
PHI3 = config("phi3", (3072, 32, 32), 32064, 1e4, 4096, sliding_window=2047)
OLMO2 = config("olmo2", (4096, 32, 32), 100352, 5e5, 4096)
PYTHIA = config("gpt_neox", (2048, 24, 16), 50304, 1e4, 2048, rotary_pct=0.25)
TINYLLAMA = config("llama", (2048, 22, 32), 32000, 1e4, 2048)

# name, config, rotary dimensions of the layers that see furthest, phases as (base, length)
RELEASED = [
    ("LLaMA 1", LLAMA1, 128, [(1e4, 2048)]),
    ("Llama 2", LLAMA2, 128, [(1e4, 4096)]),
    ("Code Llama", CODE_LLAMA, 128, [(1e4, 4096), (1e6, 16384)]),
    ("Code Llama", CODE_LLAMA_PYTHON, 128, [(1e4, 4096), (1e6, 16384)]),
    ("Llama 3", LLAMA3, 128, [(5e5, 8192)]),
    ("Qwen 2.5", QWEN25, 128, [(1e4, 4096), (1e6, 32768)]),
    ("Qwen 3", QWEN3, 128, [(1e4, 4096), (1e6, 32768)]),
    ("Gemma 2", GEMMA2, 256, [(1e4, 8192)]),
    ("Gemma 3 1B", GEMMA3_1B, 256, [(1e6, 32768)]),
    ("SmolLM", SMOLLM, 64, [(1e4, 2048)]),
    ("SmolLM2 135M and 360M", SMOLLM2, 64, [(1e4, 2048), (1e5, 8192)]),
    ("SmolLM2 1.7B", SMOLLM2_LARGE, 64, [(1e4, 2048), (1.3e5, 8192)]),
    ("SmolLM3", SMOLLM3, 128, [(5e4, 4096), (2e6, 32768), (5e6, 65536)]),
    ("OLMo 2", OLMO2, 128, [(5e5, 4096)]),
    ("Pythia", PYTHIA, 32, [(1e4, 2048)]),
    ("TinyLlama", TINYLLAMA, 64, [(1e4, 2048)]),
]


def train(entries, flags=NO_FLAGS):
    """The history that is found for a config, and the training it makes."""
    history = resolve_training(flags, {}, entries)
    layers = read_layers(entries)
    return history, history.build(layers)


def widest(training, entries):
    """The reaches in the first layer that sees furthest."""
    layers = read_layers(entries)
    return training.reach()[layers.index(widest_layers(layers)[0])]


def smallest_by_hand(size, phases):
    """The smallest reach under the last base, a pair at a time, written out."""
    now, found = phases[-1][0], []
    for pair in range(size // 2):
        share = 2 * pair / size
        angle = max(base**-share * length for base, length in phases)
        if angle < 2 * np.pi:
            found.append(angle * now**share)
    return min(found, default=None)


@pytest.mark.parametrize(
    ("name", "entries", "size", "phases"), RELEASED, ids=[row[0] for row in RELEASED]
)  # fmt: skip
def test_a_released_config_has_the_phases_of_its_row_and_the_reaches_that_follow(name, entries, size, phases):
    history, training = train(entries)
    assert [(phase.base, phase.length) for phase in history.phases] == phases
    assert {phase.source for phase in history.phases} == {f"published: {name}"}
    assert find_published(entries).row.source in history.notes[0]
    assert training.first_reach() == pytest.approx(smallest_by_hand(size, phases), rel=1e-5)


def test_every_row_has_a_config_here():
    others = {find_published(entries).row.name for entries in (LLAMA31, MISTRAL, GEMMA3_4B, PHI3)}
    one_more = {"Mistral 7B v0.1, no window in training"}  # the same shape: the shorter row is used
    assert {row[0] for row in RELEASED} | others | one_more == {row.name for row in PUBLISHED}


def test_figures_worked_out_elsewhere():
    _, smollm2 = train(SMOLLM2)
    assert round(smollm2.first_reach()) == 9281
    assert round(smollm2.predicted_limit().value) == 12007
    _, code_llama = train(CODE_LLAMA)
    assert round(code_llama.predicted_limit().value) == 129027
    assert np.round(code_llama.reach()[0, 46:48]).tolist() == [112166, 120534]
    assert not code_llama.predicted_limit().assumes_tuning


def test_llama_31_reaches_its_long_phase_under_its_rule():
    history, training = train(LLAMA31)
    assert [phase.length for phase in history.phases] == [8192, 131072]
    assert training.first_reach() == pytest.approx(131072)
    assert not training.predicted_limit().assumes_tuning


def test_gemma_3_scales_its_global_layers_alone():
    history, training = train(GEMMA3_4B)
    assert [phase.rule for phase in history.phases] == [None, OWN]
    assert widest(training, GEMMA3_4B)[-1] == pytest.approx(
        8 * 32768, rel=1e-5
    )  # the first phase, slowed by 8
    last = training.phases[-1].inv_freq
    assert last[0, 1] == pytest.approx(1e4 ** (-2 / 256), rel=1e-5)  # local
    assert last[5, 1] == pytest.approx(1e6 ** (-2 / 256) / 8, rel=1e-5)  # global
    # Its rule is not for all layers, so that it cannot be restated for a child with another rule.
    assert find_published({**GEMMA3_4B, "rope_scaling": {"rope_type": "linear", "factor": 16.0}}) is None


def test_mistral_with_and_without_its_window():
    history, training = train(MISTRAL)
    assert history.phases == (
        PhaseSpec(8192, 1e4, window=4096, label="pretraining",
                  source="published: Mistral 7B v0.1, window used in training"),
    )  # fmt: skip
    assert training.first_reach() is None  # no lag exceeds the window
    assert "Mistral 7B v0.1, no window in training also matches, the shortest reaches" in history.notes[0]
    assert train({**MISTRAL, "sliding_window": None})[1].first_reach() == 4096


def test_phi_3_sees_no_lag_past_its_window_and_a_longrope_child_adds_both_lists_of_factors():
    assert [phase.length for phase in find_published(PHI3).phases] == [4096]
    factors = {"rope_type": "longrope", "short_factor": [1.0] * 48, "long_factor": [2.0] * 48}
    long = {**PHI3, "max_position_embeddings": 131072, "original_max_position_embeddings": 4096,
            "rope_scaling": factors, "sliding_window": 262144}  # fmt: skip
    history, _ = train(long)
    assert [(phase.length, phase.rule, phase.source) for phase in history.phases] == [
        (4096, None, "published: Phi-3-mini"), (4096, OWN, ASSUMED), (131072, OWN, ASSUMED),
    ]  # fmt: skip


def test_a_child_with_another_base_keeps_its_parents_phases_and_adds_its_own():
    child = {**SMOLLM2, "rope_theta": 1e6, "max_position_embeddings": 16384}
    history, training = train(child)
    # SmolLM has the same shape, and its phases are the shorter ones
    assert history.phases == (
        PhaseSpec(2048, 1e4, label="SmolLM's pretraining", source="published: SmolLM"),
        PhaseSpec(16384, rule=OWN, label="the checkpoint's own", source=ASSUMED),
    )
    assert "shape and vocabulary are those of SmolLM, taken for the parent" in history.notes[0]
    assert "SmolLM2 135M and 360M also matches, the shortest reaches are used" in history.notes[0]
    assert training.first_reach() == pytest.approx(
        smallest_by_hand(64, [(1e4, 2048), (1e6, 16384)]), rel=1e-5
    )


def test_a_longer_position_alone_makes_a_child():
    history, _ = train({**OLMO2, "max_position_embeddings": 8192})
    assert [phase.label for phase in history.phases] == ["OLMo 2's pretraining", "the checkpoint's own"]


def test_the_length_that_a_rule_came_from_tells_parents_apart():
    yarn = {"rope_type": "yarn", "factor": 16.0, "original_max_position_embeddings": 4096}
    history, training = train({**LLAMA2, "rope_scaling": yarn, "max_position_embeddings": 65536})
    assert [phase.source for phase in history.phases] == ["published: Llama 2", ASSUMED]
    now = yarn_inv_freq(128, 1e4, 16.0, 4096)
    seen = np.maximum(inv_freq(128, 1e4) * 4096, now * 65536)
    by_hand = np.min((seen / now)[seen < 2 * np.pi])
    assert training.first_reach() == pytest.approx(by_hand, rel=1e-5)


def test_a_config_without_a_length_has_no_phase_of_its_own():
    child = {key: value for key, value in OLMO2.items() if key != "max_position_embeddings"}
    assert [phase.label for phase in find_published(child).phases] == ["pretraining"]
    child["rope_theta"] = 1e6
    assert [phase.label for phase in find_published(child).phases] == ["OLMo 2's pretraining"]
    assert train(child)[1].predicted_limit().assumes_tuning


@pytest.mark.parametrize(
    "changed",
    [
        {"vocab_size": 49153}, {"vocab_size": None}, {"model_type": "mistral", "sliding_window": None},
        {"num_hidden_layers": 31}, {"num_attention_heads": 18}, {"head_dim": 32},
        {"hidden_size": 1152, "num_attention_heads": 18},
    ],
)  # fmt: skip
def test_another_shape_or_vocabulary_does_not_match(changed):
    named = {**SMOLLM2, **changed, "_name_or_path": "HuggingFaceTB/SmolLM2-135M"}
    assert find_published(named) is None
    history = resolve_training(NO_FLAGS, {}, named)
    assert [phase.source for phase in history.phases] == [ASSUMED]


def test_the_text_part_of_a_multimodal_config_is_matched():
    assert find_published({"model_type": "gemma3", "text_config": GEMMA3_4B}).row.name == "Gemma 3"


def test_flags_and_the_record_of_a_checkpoint_win():
    assert [p.source for p in train(SMOLLM2, TrainingFlags(train_len=512))[0].phases] == ["--train-len"]
    phases = (PhaseSpec(128, source="--phase"),)
    assert train(SMOLLM2, TrainingFlags(phases=phases))[0].phases == phases
    recorded = resolve_training(NO_FLAGS, {"train_len": 256}, SMOLLM2)
    assert [(phase.length, phase.source) for phase in recorded.phases] == [(256, "ropediag.json")]
    assert recorded.notes == ()


def test_a_tuning_length_replaces_the_assumed_one_of_a_child():
    child = {**OLMO2, "rope_theta": 4e6, "max_position_embeddings": 65536}
    history, _ = train(child, TrainingFlags(tune_len=16384))
    assert [(phase.length, phase.source) for phase in history.phases] == [
        (4096, "published: OLMo 2"), (16384, "--tune-len"),
    ]  # fmt: skip


def test_each_row_names_a_source_and_shapes_and_no_two_rows_are_alike():
    for row in PUBLISHED:
        assert row.source.startswith(("arXiv:", "github.com/"))
        assert row.says
        assert row.shapes
        assert row.lengths
        assert len(set(row.shapes)) == len(row.shapes)
    assert len({row.name for row in PUBLISHED}) == len(PUBLISHED)

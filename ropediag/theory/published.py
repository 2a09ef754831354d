"""How released models were trained, as their makers published it, each row with the source that says so.

A config.json does not tell at which length and base a model was pretrained. For the models listed here a
paper, a model card or a training config does. A checkpoint is matched by the shape of its layers and the size
of its vocabulary, never by a name. Where its base, scaling rule or ``max_position_embeddings`` is not the
released one, it is taken for a child of the released model: the parent's phases come first, and its own,
of which only ``max_position_embeddings`` is known, comes last. Lengths and windows are tokens. Papers were
read as text in public copies; shapes come from released configs and from collections of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from ropediag.rope_config import LayerRope, read_layers, text_part, widest_layers
from ropediag.theory.phases import ALL, ASSUMED, OWN, PhaseSpec


class Shape(NamedTuple):
    """What tells one released model from another in a config: widths and counts, and the vocabulary."""

    model_type: str
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    head_dim: int
    vocab_size: int


@dataclass(frozen=True)
class Published:
    """Published facts about the training of a released model, or of a family with several sizes.

    Attributes
    ----------
    name : of the model or family
    phases : oldest first; a rule of ``OWN`` is the released one, which only some of the layers have
    shapes : of the sizes that were trained so
    base : ``rope_theta`` as released, in the layers that see furthest
    lengths : ``max_position_embeddings`` as released
    source : where the phases are published
    says : what the source says
    rule : scaling rule as released, None for none
    """

    name: str
    phases: tuple[PhaseSpec, ...]
    shapes: tuple[Shape, ...]
    base: float
    lengths: tuple[int, ...]
    source: str
    says: str
    rule: Mapping[str, Any] | None = None

    @property
    def span(self) -> int:
        """Sum of the lags that the phases show: of rows that match, the smallest has the shortest reaches."""
        windows = [phase.window for phase in self.phases]
        return sum(
            min(phase.length, window) if isinstance(window, int) else phase.length
            for phase, window in zip(self.phases, windows, strict=True)
        )

    def is_released(self, layer: LayerRope) -> bool:
        """Return whether base, rule and longest position of a layer are those of the released model."""
        as_long = layer.max_len is None or layer.max_len in self.lengths
        return layer.base == self.base and as_long and self.has_rule(layer)

    def has_rule(self, layer: LayerRope) -> bool:
        """Return whether a layer has the scaling rule of the released model."""
        stated = {"rope_type": "default"} if self.rule is None else self.rule
        values = {key: value for key, value in stated.items() if key != "rope_type"}
        same = all(layer.parameters.get(key) == value for key, value in values.items())
        return layer.rule == stated["rope_type"] and same


@dataclass(frozen=True)
class Found:
    """The published training of a checkpoint.

    Attributes
    ----------
    row : the facts used
    phases : of the row, then the checkpoint's own where it is not the released model
    note : one line that names the row, its source, and other rows that match
    """

    row: Published
    phases: tuple[PhaseSpec, ...]
    note: str


def find_published(config: Mapping[str, Any]) -> Found | None:
    """Find the published training of the model that a config is of, by shape and vocabulary.

    Of several rows that match, those whose base, rule and longest position are the released ones come first,
    then those with a phase as long as the scaling rule's ``original_max_position_embeddings``; among equals
    the one whose phases show the fewest lags is used, which makes the shortest reaches.

    Parameters
    ----------
    config : of a model, completed by its class

    Returns
    -------
    None where no row matches

    Raises
    ------
    ConfigError
        If the config has no RoPE in any layer, lacks a value that matters, or holds one of another kind.
    """
    layer = widest_layers(read_layers(config))[0]
    shape = _read_shape(text_part(config), layer)
    rows = [row for row in PUBLISHED if shape in row.shapes and _can_be_restated(row, layer)]
    if not rows:
        return None
    row = min(rows, key=lambda each: (-_rank(each, layer), each.span))
    own = () if row.is_released(layer) else _own_phases(layer)
    source = f"published: {row.name}"
    phases = tuple(
        replace(phase, label=_name_phase(row, phase, layer), source=source) for phase in row.phases
    )
    return Found(row, phases + own, _write_note(row, rows, layer))


def _read_shape(config: Mapping[str, Any], layer: LayerRope) -> Shape | None:
    """Read the shape of a text model; None where the config leaves a part of it out."""
    names = ("model_type", "hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
    if any(config.get(name) is None for name in names):
        return None
    kind, width, layers, heads, vocabulary = (config[name] for name in names)
    return Shape(kind, width, layers, heads, layer.head_dim, vocabulary)


def _can_be_restated(row: Published, layer: LayerRope) -> bool:
    """Return whether the row's phases can be computed for a layer that may have another rule."""
    return row.has_rule(layer) or all(phase.rule != OWN for phase in row.phases)


def _rank(row: Published, layer: LayerRope) -> int:
    if row.is_released(layer):
        return 2
    return int(any(phase.length == layer.original_len for phase in row.phases))


def _own_phases(layer: LayerRope) -> tuple[PhaseSpec, ...]:
    """State what a child's config tells of its own training: a length, which is an assumption."""
    if not layer.max_len:
        return ()
    own = PhaseSpec(int(layer.max_len), rule=OWN, label="the checkpoint's own", source=ASSUMED)
    if layer.rule == "longrope" and layer.original_len and layer.original_len < layer.max_len:
        short = replace(own, length=int(layer.original_len), label="the checkpoint's own, short factors")
        return short, replace(own, label="the checkpoint's own, long factors")
    return (own,)


def _name_phase(row: Published, phase: PhaseSpec, layer: LayerRope) -> str:
    return phase.label if row.is_released(layer) else f"{row.name}'s {phase.label}"


def _write_note(row: Published, rows: list[Published], layer: LayerRope) -> str:
    if row.is_released(layer):
        note = f"shape, vocabulary, base and rule are those of {row.name}"
    else:
        note = f"shape and vocabulary are those of {row.name}, taken for the parent"
    others = [each.name for each in rows if each is not row]
    note += f"; its training is published in {row.source}"
    if others:
        note += f"; {', '.join(others)} also match{'es' if len(others) == 1 else ''}"
        ties = [each for each in rows if _rank(each, layer) == _rank(row, layer)]
        note += ", the shortest reaches are used" if len(ties) > 1 else ""
    return note


def _list_shapes(model_type: str, vocabulary: int, *sizes: tuple[int, ...]) -> tuple[Shape, ...]:
    """List shapes given as width, layers, heads and, where it is not their ratio, head size."""
    return tuple(
        Shape(model_type, size[0], size[1], size[2], size[3] if len(size) > 3 else size[0] // size[2],
              vocabulary)
        for size in sizes
    )  # fmt: skip


def _pretraining(length: int, base: float, window: int | str | None = None) -> PhaseSpec:
    return PhaseSpec(length, base, window=window, label="pretraining")


def _extension(length: int, base: float, rule: Any = None) -> PhaseSpec:
    return PhaseSpec(length, base, rule, label="long-context training")


_LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
           "original_max_position_embeddings": 8192}  # fmt: skip
_7B, _13B, _70B = (4096, 32, 32), (5120, 40, 40), (8192, 80, 64)
_MISTRAL = "arXiv:2310.06825, table 1"
_SMOLLM = "github.com/huggingface/smollm, text/pretraining"

PUBLISHED: tuple[Published, ...] = (
    Published(
        "LLaMA 1",
        (_pretraining(2048, 1e4),),
        _list_shapes("llama", 32_000, _7B, _13B, (6656, 60, 52), _70B),
        1e4,
        (2048,),
        "arXiv:2307.09288, section A.2.1",
        "the context window of LLaMA 1 is 2,048 tokens, that of Llama 2 4,096",
    ),
    Published(
        "Llama 2",
        (_pretraining(4096, 1e4),),
        _list_shapes("llama", 32_000, _7B, _13B, _70B),
        1e4,
        (4096,),
        "github.com/meta-llama/llama, MODEL_CARD.md; arXiv:2307.09288, section A.2.1",
        "context length 4k in all sizes; the base is 10,000 (arXiv:2308.12950, section 2.4)",
    ),
    Published(
        "Code Llama",
        (_pretraining(4096, 1e4), _extension(16_384, 1e6)),
        _list_shapes("llama", 32_016, _7B, _13B)
        + _list_shapes("llama", 32_000, _7B, _13B, (8192, 48, 64)),
        1e6,
        (16_384,),
        "arXiv:2308.12950, section 2.4",
        "long context fine-tuning on 16,384 tokens, up from the 4,096 of Llama 2 and of code training; the "
        "base period goes from 10,000 to 1,000,000",
    ),
    Published(
        "Llama 3",
        (_pretraining(8192, 5e5),),
        _list_shapes("llama", 128_256, _7B, _70B),
        5e5,
        (8192,),
        "github.com/meta-llama/llama3, MODEL_CARD.md; arXiv:2407.21783, section 3.2",
        "context length 8k; the base is 500,000",
    ),
    Published(
        "Llama 3.1",
        (_pretraining(8192, 5e5), _extension(131_072, 5e5, _LLAMA3)),
        _list_shapes("llama", 128_256, _7B, _70B, (16_384, 126, 128)),
        5e5,
        (131_072,),
        "arXiv:2407.21783, section 3.4.2; github.com/meta-llama/llama-models, llama3_1/MODEL_CARD.md",
        "for 405B the context goes from 8K to 128K in six stages, whose lengths are not printed; the card "
        "states 128k for all sizes; the rule is that of the released config",
        rule=_LLAMA3,
    ),
    Published(
        "Mistral 7B v0.1, window used in training",
        (_pretraining(8192, 1e4, window=4096),),
        _list_shapes("mistral", 32_000, _7B),
        1e4,
        (32_768,),
        _MISTRAL,
        "context_len 8192 and window_size 4096; whether training used the window is not said; base 10,000 in "
        "the released config",
    ),
    Published(
        "Mistral 7B v0.1, no window in training",
        (_pretraining(8192, 1e4, window=ALL),),
        _list_shapes("mistral", 32_000, _7B),
        1e4,
        (32_768,),
        _MISTRAL,
        "context_len 8192 and window_size 4096; whether training used the window is not said; base 10,000 in "
        "the released config",
    ),
    Published(
        "Qwen 2.5",
        (_pretraining(4096, 1e4), _extension(32_768, 1e6)),
        _list_shapes("qwen2", 151_936, (896, 24, 14), (1536, 28, 12), (2048, 36, 16))
        + _list_shapes("qwen2", 152_064, (3584, 28, 28), (5120, 48, 40), (5120, 64, 40), _70B),
        1e6,
        (32_768, 131_072),
        "arXiv:2412.15115, section 3.3",
        "4,096 tokens, then 32,768 in the final stage of pretraining for all variants but Turbo, with the "
        "base raised from 10,000 to 1,000,000",
    ),
    Published(
        "Qwen 3",
        (_pretraining(4096, 1e4), _extension(32_768, 1e6)),
        _list_shapes("qwen3", 151_936, (1024, 28, 16, 128), (2048, 28, 16), (2560, 36, 32, 128),
                     (4096, 36, 32), _13B, (5120, 64, 64, 128))
        + _list_shapes("qwen3_moe", 151_936, (2048, 48, 32, 128), (4096, 94, 64, 128)),
        1e6,
        (32_768, 40_960),
        "arXiv:2505.09388, section 3.2",
        "4,096 tokens, then 32,768 in the long context stage, with the base raised from 10,000 to 1,000,000",
    ),
    Published(
        "Gemma 2",
        (_pretraining(8192, 1e4),),
        _list_shapes("gemma2", 256_000, (2304, 26, 8, 256), (3584, 42, 16, 256), (4608, 46, 32, 128)),
        1e4,
        (8192,),
        "arXiv:2408.00118, section 2; the base: arXiv:2503.19786, section 5.3",
        "context length 8,192; every other layer has a window of 4,096 tokens; the base of Gemma 2 is 10k",
    ),
    Published(
        "Gemma 3 1B",
        (_pretraining(32_768, 1e6),),
        _list_shapes("gemma3_text", 262_144, (1152, 26, 4, 256)),
        1e6,
        (32_768,),
        "arXiv:2503.19786, sections 2 and 5.3",
        "pretrained with 32K sequences and not extended; base 1M in the global layers, 10k in the local ones",
    ),
    Published(
        "Gemma 3",
        (_pretraining(32_768, 1e6), _extension(131_072, 1e6, OWN)),
        _list_shapes("gemma3_text", 262_208, (2560, 34, 8, 256), (3840, 48, 16, 256), (5376, 62, 32, 128)),
        1e6,
        (131_072,),
        "arXiv:2503.19786, section 5.3",
        "pretrained with 32K sequences, then scaled to 128K at the end with a factor of 8; base 1M in the "
        "global layers, 10k in the local ones",
        rule={"rope_type": "linear", "factor": 8.0},
    ),
    Published(
        "SmolLM",
        (_pretraining(2048, 1e4),),
        _list_shapes("llama", 49_152, (576, 30, 9), (960, 32, 15), (2048, 24, 32)),
        1e4,
        (2048,),
        f"{_SMOLLM}/smollm1",
        "sequence_length 2048, rope_theta 10000",
    ),
    Published(
        "SmolLM2 135M and 360M",
        (_pretraining(2048, 1e4), _extension(8192, 1e5)),
        _list_shapes("llama", 49_152, (576, 30, 9), (960, 32, 15)),
        1e5,
        (8192,),
        f"{_SMOLLM}/smollm2; arXiv:2502.02737, section 4.6",
        "sequence_length 2048, rope_theta 10000; the paper extends the 1.7B model from 2k to 8k tokens, and "
        "the released configs of the small ones state 8,192 tokens and base 100,000",
    ),
    Published(
        "SmolLM2 1.7B",
        (_pretraining(2048, 1e4), _extension(8192, 1.3e5)),
        _list_shapes("llama", 49_152, (2048, 24, 32)),
        1.3e5,
        (8192,),
        f"{_SMOLLM}/smollm2; arXiv:2502.02737, section 4.6",
        "sequence_length 2048, rope_theta 10000; extended from 2k to 8k tokens with a RoPE value of 130k",
    ),
    Published(
        "SmolLM3",
        (_pretraining(4096, 5e4), _extension(32_768, 2e6), _extension(65_536, 5e6)),
        _list_shapes("smollm3", 128_256, (2048, 36, 16)),
        5e6,
        (65_536,),
        f"{_SMOLLM}/smollm3",
        "sequence_length 4096, 32768 and 65536 at rope_theta 50000, 2000000 and 5000000",
    ),
    Published(
        "Phi-3-mini",
        (_pretraining(4096, 1e4),),
        _list_shapes("phi3", 32_064, (3072, 32, 32)),
        1e4,
        (4096,),
        "arXiv:2404.14219, section 2",
        "trained with context length 4K; the long version is extended to 128K by LongRoPE; base 10,000 in "
        "the released configs",
    ),
    Published(
        "OLMo 2",
        (_pretraining(4096, 5e5),),
        _list_shapes("olmo2", 100_352, _7B, _13B),
        5e5,
        (4096,),
        "github.com/allenai/OLMo, configs/official-1124, OLMo2-7B-stage1.yaml and OLMo2-13B-stage1.yaml",
        "max_sequence_length 4096, rope_theta 500000",
    ),
    Published(
        "Pythia",
        (_pretraining(2048, 1e4),),
        _list_shapes("gpt_neox", 50_304, (512, 6, 8), (768, 12, 12), (1024, 24, 16), (2048, 16, 8),
                     (2048, 24, 16), (2560, 32, 32))
        + _list_shapes("gpt_neox", 50_432, _7B)
        + _list_shapes("gpt_neox", 50_688, (5120, 36, 40)),
        1e4,
        (2048,),
        "github.com/EleutherAI/pythia, models/*/*.yml",
        "seq-length 2048, rotary-pct 0.25; rotary_emb_base 10000 in the released configs",
    ),
    Published(
        "TinyLlama",
        (_pretraining(2048, 1e4),),
        _list_shapes("llama", 32_000, (2048, 22, 32)),
        1e4,
        (2048,),
        "github.com/jzhang38/TinyLlama, README.md",
        "sequence length 2048; the same architecture as Llama 2",
    ),
)  # fmt: skip

"""Which models does ropediag measure right? Every decoder of the installed transformers.

    python benchmarks/model_matrix.py

A tiny random model of each type is captured, and the capture is held against the model itself (see
ropediag/testing/verify.py). Writes docs/models.md. Under three minutes on two cores.
"""

import argparse
import importlib
import inspect
import logging
import multiprocessing
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ropediag.errors import RopediagError
from ropediag.testing.tiny import random_tokens, tiny_model
from ropediag.testing.verify import TOLERANCES, Verified, verify_model

LENGTH = 40
SHORTER = {"llama4": 24, "llama4_text": 24}  # a chunk of their attention
NOT_EAGER = ("falcon",)  # tapped where it attends by torch's function alone
SINUSOIDAL = ("roformer",)  # rotates by a table that is not one of frequencies
NOT_BUILT = {  # RoPE models that cannot be built small, or not alone
    "gemma3n": "needs Pillow and timm for its images; its text model is gemma3n_text",
    "gemma4_assistant": "drafts for another model, to whose keys it attends",
    "gemma4_unified_assistant": "drafts for another model, to whose keys it attends",
}
_YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 256}
_LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
           "original_max_position_embeddings": 256}  # fmt: skip
_LONGROPE = {"rope_type": "longrope", "factor": 4.0, "original_max_position_embeddings": 256,
             "short_factor": [1.0 + n / 8 for n in range(8)], "long_factor": [1.0 + n for n in range(8)]}  # fmt: skip
SCALED: dict[str, tuple[str, dict[str, Any]]] = {
    "default": ("llama", {"rope_type": "default"}),
    "linear": ("llama", {"rope_type": "linear", "factor": 4.0}),
    "dynamic": ("llama", {"rope_type": "dynamic", "factor": 4.0}),
    "yarn": ("llama", _YARN),
    "longrope": ("phi3", _LONGROPE),
    "llama3": ("llama", _LLAMA3),
    "proportional": ("gemma4_text", {}),  # on its layers of full attention
}


@dataclass
class Outcome:
    """What became of one type: ``verified``, ``refused``, ``wrong``, ``no RoPE`` or ``not built``."""

    model_type: str
    kind: str
    said: str = ""
    cells: list[str] = field(default_factory=list)


def examine(model_type: str) -> Outcome:
    """Build, capture and verify one type."""
    _quieten()
    if model_type in NOT_BUILT:
        return Outcome(model_type, "refused", NOT_BUILT[model_type])
    try:
        model = tiny_model(model_type)
    except Exception as error:  # each type has its own ways of not being built
        if not _mentions_rotary(model_type):
            return Outcome(model_type, "no RoPE")
        return Outcome(model_type, "not built", f"{type(error).__name__}: {str(error).splitlines()[0]}")
    rotates = model_type in SINUSOIDAL or _has_table(model)
    if not rotates:
        return Outcome(model_type, "no RoPE")
    if model_type not in NOT_EAGER:
        model.set_attn_implementation("eager")
    try:
        verified = verify_model(model, random_tokens(SHORTER.get(model_type, LENGTH)))
    except RopediagError as error:
        return Outcome(model_type, "refused", str(error))
    except Exception as error:
        return Outcome(model_type, "wrong", f"{type(error).__name__}: {error}")
    kind = "wrong" if verified.failures else "verified"
    return Outcome(model_type, kind, ", ".join(verified.failures), describe(model, verified))


def _has_table(model: Any) -> bool:
    from ropediag.models.rotation import frequency_tables

    return bool(frequency_tables(model))


def _mentions_rotary(model_type: str) -> bool:
    """Whether the code of a type that could not be built small has anything to do with rotation."""
    from transformers.models.auto.configuration_auto import model_type_to_module_name

    module = model_type_to_module_name(model_type)
    return (
        "rotary"
        in inspect.getsource(
            importlib.import_module(f"transformers.models.{module}.modeling_{module}")
        ).lower()
    )


def describe(model: Any, verified: Verified) -> list[str]:
    """The cells of a type's row in the table."""
    rotation, spec = verified.rotation, verified.rotation.spec
    pairs = [spec.pair_count(row) for row in range(len(rotation.layers))]
    rotated = sorted(
        {f"{2 * count} of {int(size)}" for count, size in zip(pairs, spec.head_dim, strict=True) if count}
    )
    errors = [f"{verified.errors[name]:.0e}" if verified.errors[name] == verified.errors[name] else "not told"
              for name in TOLERANCES]  # fmt: skip
    return [
        f"{sum(map(bool, pairs))} of {len(pairs)}",
        f"{spec.layout}{_where(spec, pairs)}",
        ", ".join(rotated),
        ", ".join(_traits(model, verified)),
        *errors,
        "agrees" if verified.config_agrees else "differs",
    ]


def _where(spec: Any, pairs: list[int]) -> str:
    """Say so where the rotated channels are the last ones of the head."""
    row = next(row for row, count in enumerate(pairs) if count)
    return ", last channels" if spec.channels[row, : pairs[row]].min() > 0 else ""


def _traits(model: Any, verified: Verified) -> Iterator[str]:
    """What else there is about a type that a capture has to get right."""
    spec, rotation = verified.rotation.spec, verified.rotation
    frequencies = {spec.inv_freq[row, : spec.pair_count(row)].tobytes() for row in range(len(rotation.layers))
                   if spec.pair_count(row)}  # fmt: skip
    names = [name.rsplit(".", 1)[-1] for name, _ in model.named_modules()]
    latent = hasattr(model.config.get_text_config(), "kv_lora_rank")
    windows = {window for window in verified.windows.values() if window}
    if rotation.query_heads != rotation.kv_heads:
        yield "grouped heads"
    if latent:
        yield "latent attention"
    if any(name in ("q_norm", "query_norm", "q_layernorm", "query_layernorm") for name in names):
        yield "norm on queries and keys"
    if windows:
        yield "window in " + ("all layers" if all(verified.windows.values()) else "some layers")
    if len(frequencies) > 1:
        yield "frequencies differ by layer"
    if verified.softcapped:
        yield "soft cap"
    if verified.sinks:
        yield "sinks"
    if len({*rotation.query_heads}) > 1 or len({*spec.head_dim.tolist()}) > 1:
        yield "heads differ by layer"


def examine_rule(rule: str) -> tuple[str, str, str]:
    """Verify one scaling rule, its frequencies read after a pass of more than the original length."""
    _quieten()
    model_type, parameters = SCALED[rule]
    changes: dict[str, Any] = {"max_position_embeddings": 256} if rule == "dynamic" else {}
    if parameters:
        changes["rope_parameters"] = parameters | {"rope_theta": 1e4}
    model = tiny_model(model_type, **changes)
    model.set_attn_implementation("eager")
    verified = verify_model(model, random_tokens(LENGTH))
    said = "verified" if not verified.failures else "wrong: " + ", ".join(verified.failures)
    return rule, model_type, said + ("" if verified.config_agrees else ", config differs")


def _quieten() -> None:
    from transformers.utils import logging as transformers_logging

    warnings.simplefilter("ignore")
    transformers_logging.set_verbosity(logging.CRITICAL)
    torch.set_num_threads(1)
    np.seterr(all="ignore")


HEAD = """# Models

Does it work on your model? Written by `python benchmarks/model_matrix.py` with transformers {version}: of
{total} causal language models that it knows, {rope} rotate; **{verified} are verified, {refused} are refused
with a reason, {wrong} measured wrong**.

A tiny random model of each type is built from its configuration class and captured at {length} tokens. For all
layers, heads and query-key pairs, written out one by one:

- **softmax**: contributions of all pairs plus the rest, through soft cap, window and sinks, against the
  probabilities of the model's own softmax in eager mode: largest difference of a probability;
- **scores**: means by lag in the file against those written out, relative to the largest contribution;
- **shift**: the text moved from position 1,000 to 2,000 must not move a contribution: largest change, relative.
  Under a wrong pairing of the channels it must move by more than 5 %, and did for every type;
- **angle**: angle that the model applied against position times frequency, radians, up to position 1,000;
- **config**: whether the frequencies, channels, factors and windows that `ropediag predict` reads from
  `config.json` are those measured.

Each capture also found that logits with the tap are bit-equal to those without, that every attention layer was
heard once, that masks hide what a causal mask and the layer's window hide and nothing else, and that rows of
the attention's output, computed anew, are the model's. These checks run in every capture of yours too: what
fails one is refused, by name and layer. Weights here are random and in float32; half precision is tested on ten
families in `tests/models/test_matrix.py`.

## Verified

| Type | Layers that rotate | Layout | Rotated channels | Also | Softmax | Scores | Shift | Angle | Config |
|---|---|---|---|---|---|---|---|---|---|
"""


IMAGES = """
## Models for images and text

Captured on text, through their text decoder, and verified in the same way. M-RoPE is plain RoPE there: all its
sections count the same positions. {verified} types are verified:

{names}.

Refused, with the reason: {refused}. Not built small from the configuration class alone, so not examined: {rest}.
"""


def write(
    outcomes: list[Outcome], images: list[Outcome], rules: list[tuple[str, str, str]], path: Path
) -> None:
    """Write the page."""
    import transformers

    count = Counter(outcome.kind for outcome in outcomes)
    by_kind = {kind: [outcome for outcome in outcomes if outcome.kind == kind] for kind in count}
    page = HEAD.format(
        version=transformers.__version__, total=len(outcomes), length=LENGTH, verified=count["verified"],
        refused=count["refused"], wrong=count["wrong"], rope=count["verified"] + count["refused"] + count["wrong"],
    )  # fmt: skip
    for outcome in by_kind.get("verified", []):
        page += f"| {outcome.model_type} | {' | '.join(outcome.cells)} |\n"
    for kind, title in (
        ("wrong", "Measured wrong"),
        ("refused", "Refused"),
        ("not built", "Not built small"),
    ):
        if kind in by_kind:
            page += f"\n## {title}\n\n| Type | Why |\n|---|---|\n"
            page += "".join(f"| {outcome.model_type} | {outcome.said} |\n" for outcome in by_kind[kind])
    page += "\n## Scaling rules\n\nFrequencies read after a pass to position 1,000, past the original length of 256.\n\n"
    page += "| Rule | On | Outcome |\n|---|---|---|\n"
    page += "".join(f"| {rule} | {model_type} | {said} |\n" for rule, model_type, said in rules)
    page += describe_images(images)
    page += "\n## Without RoPE\n\n" + ", ".join(outcome.model_type for outcome in by_kind["no RoPE"]) + ".\n"
    path.write_text(page)


def describe_images(outcomes: list[Outcome]) -> str:
    """The section on models that read images beside text."""
    by_kind = {kind: [outcome for outcome in outcomes if outcome.kind == kind]
               for kind in ("verified", "refused", "not built")}  # fmt: skip
    verified = by_kind["verified"]
    names = [outcome.model_type + (" (config differs)" if outcome.cells[-1] == "differs" else "")
             for outcome in verified]  # fmt: skip
    return IMAGES.format(
        verified=len(verified),
        names=", ".join(names),
        refused="; ".join(
            f"{outcome.model_type} ({outcome.said.split('. ')[0]})" for outcome in by_kind["refused"]
        ),
        rest=", ".join(outcome.model_type for outcome in by_kind["not built"]),
    )


def main() -> None:
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
    )

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "models.md")
    options = parser.parse_args()
    begun = time.perf_counter()
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        rules = list(pool.map(examine_rule, SCALED))
        outcomes = list(pool.map(examine, sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)))
        others = sorted({*MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES} - {*MODEL_FOR_CAUSAL_LM_MAPPING_NAMES})
        images = list(pool.map(examine, others))
    write(outcomes, images, rules, options.out)
    for outcome in [*outcomes, *images]:
        if outcome.kind in ("wrong", "not built"):
            print(f"{outcome.model_type}: {outcome.kind}: {outcome.said}")
    for rule, model_type, said in rules:
        print(f"{rule} on {model_type}: {said}")
    for title, found in (("causal language models", outcomes), ("images and text", images)):
        print(f"{title}: {dict(Counter(outcome.kind for outcome in found))}")
    print(f"{time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()

"""The model card: what a checkpoint is, how it was made and what it reached, as Markdown."""

from pathlib import Path

from ropediag.store.disk import publish_alone
from ropediag.tune.config import FAMILIES, PretrainConfig
from ropediag.tune.metadata import CheckpointMetadata
from ropediag.tune.tune_config import TuneConfig

_LIBRARY_TEXT = (
    "Python standard library files (Copyright (c) Python Software Foundation, PSF licence), the list that "
    "ships with ropediag; one file in six is held out"
)

_CARD = """\
---
license: {licence}
library_name: transformers
pipeline_tag: text-generation
tags: [rope, diagnostics]
---

# A small byte-level {kind} for RoPE diagnostics

Made by `{command}`.

It exists to be measured: what it writes is of no use, but it breaks past its training length as large
models do.

| | |
|---|---|
| layers, width, feed-forward | {layers}, {width}, {feed_forward}; untied |
| heads | {heads} x {head_dim} channels, {rotated} rotated |
| parameters | {parameters:,}, float32 |
| vocabulary | 256: a token is a byte, its id the byte's value; no special tokens |
| training length | {length} tokens |
| RoPE base | {base:g} |
| text | {text} |
| SHA-256 of the text | `{text_hash}` |
| key-value lines | {recall:.0%} of the windows |
| steps | {steps:,} of {batch} windows, {tokens:,} tokens |
| optimiser | AdamW (0.9, 0.95), weight decay 0.1 (not on norms), clip 1, computed in {compute} |
| learning rate | {lr:g}: 100 steps of warm-up, then a cosine to 5 % |
| seed, threads, device | {seed}, {threads}, {device} |

## Measured within the training length

95 % intervals over {loss_count} windows of ropediag's held-out text and over {recall_count:,} answers.

| | | |
|---|---|---|
| loss, second half of each window | {bits[0]:.3f} bits per byte | {bits[1]:.3f} to {bits[2]:.3f} |
| recall, answers ranked first | {hits[0]:.1f} % | {hits[1]:.1f} to {hits[2]:.1f} % |

Recall lines set two to four keys and ask for each once; a guess among the values shown is right for one
answer in three.

`ropediag.json` holds all of this for programs, with the versions and the hash of the weights.
"""


def write_card(out: Path, config: PretrainConfig, metadata: CheckpointMetadata, parameters: int) -> Path:
    """Write ``README.md`` into a checkpoint's folder."""
    bits = metadata.loss["held_out_bits_per_byte"]
    recall = metadata.loss["recall"]
    card = _CARD.format(
        licence="other" if config.text else "psf-2.0",
        command=metadata.command,
        layers=config.layers,
        width=config.width,
        feed_forward=config.feed_forward,
        heads=config.heads,
        head_dim=config.head_dim,
        kind=FAMILIES[config.family],
        rotated="all" if config.partial_rotary_factor == 1 else f"{config.partial_rotary_factor:.0%} of them",
        parameters=parameters,
        length=config.length,
        base=config.base,
        text=", ".join(f"`{path}`" for path in config.text) or _LIBRARY_TEXT,
        text_hash=metadata.text_hash,
        recall=config.recall_share,
        steps=config.steps,
        batch=config.batch,
        tokens=config.tokens,
        lr=config.lr,
        seed=config.seed,
        threads=metadata.machine["threads"],
        device=metadata.machine["device"],
        compute=metadata.machine["compute"],
        loss_count=bits["count"],
        recall_count=recall["count"],
        bits=[bits[name] for name in ("value", "low", "high")],
        hits=[100 * recall[name] for name in ("value", "low", "high")],
    )
    path = out / "README.md"
    publish_alone(path, card)
    return path


_FROM_PARENT = """\
---
library_name: transformers
pipeline_tag: text-generation
tags: [rope, diagnostics]
---

# {parent}{what}

Made by `{command}`.

| | |
|---|---|
| parent | {parent}, weights {parent_hash} |
| pretraining base and length | {pretrain_base:g}, {train_len:,} tokens |
| base | {base:g} |
| scaling rule | {scaling} |
"""
_TUNED = """\
| tuning length | {tune_len:,} tokens |
| text | {text} |
| SHA-256 of its tokens | `{text_hash}` |
| key-value lines | {recall:.0%} of the windows |
| steps | {steps:,} of {batch} windows, {tokens:,} tokens |
| optimiser | AdamW (0.9, 0.95), weight decay 0.1 (not on norms), clip 1, computed in {compute} |
| learning rate | {lr:g}: a tenth of the steps of warm-up, then a cosine to 5 % |
| seed | {seed} |

`ropediag.json` holds all of this for programs, with what was measured and the hash of the weights.
"""
_UNTRAINED = """
The weights are those of the parent: none has seen this RoPE. `ropediag.json` holds all of this for programs.
"""


def write_tune_card(out: Path, config: TuneConfig, metadata: CheckpointMetadata) -> Path:
    """Write ``README.md`` into the folder of a tuned checkpoint."""
    card = _describe_origin(metadata, ", tuned with another RoPE") + _TUNED.format(
        tune_len=metadata.tune_len,
        text=", ".join(f"`{path}`" for path in config.text) or _LIBRARY_TEXT,
        text_hash=metadata.text_hash,
        recall=metadata.recall_share,
        steps=config.steps,
        batch=config.batch,
        tokens=metadata.tokens,
        compute=metadata.machine["compute"],
        lr=config.lr,
        seed=config.seed,
    )
    path = out / "README.md"
    publish_alone(path, card)
    return path


def write_untrained_card(out: Path, metadata: CheckpointMetadata) -> Path:
    """Write ``README.md`` into the folder of a checkpoint whose RoPE alone was changed."""
    path = out / "README.md"
    publish_alone(path, _describe_origin(metadata, " under another RoPE, not trained") + _UNTRAINED)
    return path


def _describe_origin(metadata: CheckpointMetadata, what: str) -> str:
    """Write what the cards of all models made from another begin with: parent, command and RoPE."""
    parent, scaling = metadata.parent or {}, metadata.scaling
    return _FROM_PARENT.format(
        what=what,
        parent=parent["name"],
        parent_hash=f"`{parent['weights_hash']}`" if parent["weights_hash"] else "from the hub",
        command=metadata.command,
        pretrain_base=metadata.pretrain_base,
        train_len=metadata.train_len,
        base=metadata.base,
        scaling="none" if scaling is None else f"{scaling['rule']}, factor {scaling['factor']:g}",
    )

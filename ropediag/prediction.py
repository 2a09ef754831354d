"""What the laws say of one checkpoint, config or set of numbers, before any model is loaded.

Takes the numbers from ``checkpoint``, the frequencies from ``scaling``, and applies ``limits`` to the
layers that see furthest. Never imports torch. Lengths and periods are tokens; pairs count from 0, the
fastest.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ropediag import limits
from ropediag.checkpoint import Training, read_checkpoint, resolve_training
from ropediag.errors import ConfigError
from ropediag.reach import TargetAnswer, answer_target, is_plain
from ropediag.rope import pair_channels
from ropediag.rope_config import LayerRope, read_layers, read_layout
from ropediag.scaling import layer_inv_freq

BM_SEARCH = 2**22  # lags searched for the retrieval bound
Frequencies = Float[np.ndarray, " pair"]


@dataclass(frozen=True)
class UntrainedPair:
    """The first pair that training left untrained: ``coverage`` is the share of a turn it has seen."""

    pair: int
    channels: tuple[int, int]
    pretrain_period: float
    period: float
    coverage: float


@dataclass(frozen=True)
class Prediction:
    """The laws' answer for the layers of a model that see furthest.

    Attributes
    ----------
    sources : where each of base, pretrain_base, train_len and tune_len came from
    rule : name of the scaling rule, "default" for none
    critical_dimension, tuned_critical_dimension : dimensions trained by pretraining, by tuning alone
    critical_base : base above which tuning at tune_len leaves pairs untrained
    limit : tokens, or None: no bound of this kind
    law : in words, what sets the limit
    first_untrained : what breaks first; None if nothing does
    retrieval_bound : first lag with B_m < 0, tokens; None if above ``BM_SEARCH``
    """

    source: str
    sources: Mapping[str, str]
    rule: str
    layout: str
    head_dim: int
    rotary_dim: int
    base: float
    pretrain_base: float
    train_len: int
    tune_len: int
    turns: float
    critical_dimension: int
    tuned_critical_dimension: int
    critical_base: float
    limit: float | None
    law: str
    first_untrained: UntrainedPair | None
    retrieval_bound: int | None
    target: TargetAnswer | None
    notes: tuple[str, ...]


def predict(
    path: str | Path | None = None,
    *,
    base: float | None = None,
    pretrain_base: float | None = None,
    train_len: int | None = None,
    tune_len: int | None = None,
    rotary_dim: int | None = None,
    target_len: int | None = None,
    turns: float = 1.0,
) -> Prediction:
    """Apply the laws to a checkpoint directory, a bare config.json, or numbers alone.

    Parameters
    ----------
    path : checkpoint directory or config.json; without it base, train_len and rotary_dim are needed
    base, pretrain_base : float; else from the config and ``ropediag.json``; pretrain_base defaults to base
    train_len, tune_len : int, tokens; else from ``ropediag.json`` or ``original_max_position_embeddings``;
        tune_len defaults to train_len
    rotary_dim : int, dimensions; with a path it must agree with the config
    target_len : int, tokens, the length to reach
    turns : float, the share of a turn that counts as trained, see ``limits``

    Raises
    ------
    ConfigError
        If a file cannot be read, a value is out of range, or nothing states the training length.
    """
    config, metadata = read_checkpoint(Path(path)) if path is not None else ({}, {})
    layers = read_layers(config) if path is not None else _layer_from_flags(rotary_dim, base)
    widest = _widest_layers(layers)
    if rotary_dim not in (None, widest[0].rotary_dim):
        raise ConfigError(
            f"--rotary-dim is {rotary_dim}, but {path} rotates {widest[0].rotary_dim} dimensions of each "
            "head. Leave out the flag or the path."
        )
    flags = {"base": base, "pretrain_base": pretrain_base, "train_len": train_len, "tune_len": tune_len}
    answers = [
        _predict_layer(
            layer, read_layout(config), resolve_training(flags, metadata, layer), turns, target_len
        )
        for index, layer in enumerate(widest)
        if layer not in widest[:index]
    ]
    answer = min(answers, key=lambda found: math.inf if found.limit is None else found.limit)
    source = "flags" if path is None else str(path)
    return replace(answer, source=source, notes=_notes(layers, widest, metadata, answer))


def limit_of(config: Mapping[str, Any], training: Training, turns: float = 1.0) -> float | None:
    """The limit alone, tokens, of a model by its config and its training; None for no bound of this kind."""
    found = {_bound(layer, training, turns)[2] for layer in _widest_layers(read_layers(config))}
    return min((limit for limit in found if limit is not None), default=None)


def _layer_from_flags(rotary_dim: int | None, base: float | None) -> tuple[LayerRope, ...]:
    if rotary_dim is None or base is None:
        raise ConfigError(
            f"without a checkpoint --base, --rotary-dim and --train-len are needed: got base {base} and "
            f"rotary_dim {rotary_dim}. Pass them, or the path of a checkpoint or config.json."
        )
    return (LayerRope(rotary_dim, rotary_dim, 0, base, "default", {}, None, None, None),)


def _widest_layers(layers: Sequence[LayerRope]) -> list[LayerRope]:
    rotating = [layer for layer in layers if layer.rotary_dim]
    reach = max(layer.window or math.inf for layer in rotating)
    return [layer for layer in rotating if (layer.window or math.inf) == reach]


def _predict_layer(
    layer: LayerRope, layout: str, training: Training, turns: float, target_len: int | None
) -> Prediction:
    now, before, limit, law = _bound(layer, training, turns, target_len)
    train_len, tune_len = training.train_len, training.tune_len
    unseen = limit is not None or not layer.window  # within a window nothing need break
    first = _first_untrained(layer, layout, now, before, training, turns) if unseen else None
    return Prediction(
        source="",
        sources=training.sources,
        rule=layer.rule,
        layout=layout,
        head_dim=layer.head_dim,
        rotary_dim=layer.rotary_dim,
        base=training.base,
        pretrain_base=training.pretrain_base,
        train_len=train_len,
        tune_len=tune_len,
        turns=turns,
        critical_dimension=limits.critical_dimension(before, train_len, turns),
        tuned_critical_dimension=limits.critical_dimension(now, tune_len, turns),
        critical_base=limits.critical_base(training.pretrain_base, train_len, tune_len, turns),
        limit=limit,
        law=law,
        first_untrained=first,
        retrieval_bound=limits.bm_bound(now, BM_SEARCH),
        target=None if target_len is None else answer_target(target_len, limit, now, before, training, turns),
        notes=(),
    )


def _bound(
    layer: LayerRope, training: Training, turns: float, target_len: int | None = None
) -> tuple[Frequencies, Frequencies, float | None, str]:
    """Frequencies now and in pretraining, the limit, and the law that sets it."""
    now, _ = layer_inv_freq(replace(layer, base=training.base), target_len)
    before, _ = layer_inv_freq(replace(layer, base=training.pretrain_base), scaled=False)
    limit, law = _limit(now, before, training, turns)
    if layer.window and (limit is None or limit >= layer.window):
        limit, law = None, f"no lag exceeds the window of {layer.window:,} tokens"
    return now, before, limit, law


def _limit(
    now: Frequencies, before: Frequencies, training: Training, turns: float
) -> tuple[float | None, str]:
    """Apply the law that fits: the extended law to plain RoPE, the angle range to scaled frequencies."""
    base, tune_len = training.base, training.tune_len
    if not is_plain(now, base):
        limit = limits.angle_range_limit(now, before, training.train_len, turns)
        if limit is None:
            return None, "pretraining trained every pair that turns"
        if limit <= tune_len:
            return float(tune_len), "tuning length, under scaled frequencies"
        return (
            limit,
            "a pair untrained in pretraining leaves the angles it saw there, under scaled frequencies",
        )
    numbers = (2 * len(now), base, training.pretrain_base, training.train_len, tune_len, turns)
    limit = limits.extrapolation_limit(*numbers)
    if limit is None:
        return None, "training covered every pair"
    if limit > tune_len:
        return limit, "period of the first untrained pair under the tuned base (equation 16b)"
    if base == training.pretrain_base:
        return limit, "unmodified base: the training length"
    return limit, "base not above the critical base: the tuning length, a soft limit (equation 16c)"


def _first_untrained(
    layer: LayerRope, layout: str, now: Frequencies, before: Frequencies, training: Training, turns: float
) -> UntrainedPair | None:
    pretrained = training.train_len * before / (2 * np.pi)  # turns seen in each stage
    tuned = training.tune_len * now / (2 * np.pi)
    untrained = np.flatnonzero((pretrained < turns) & (tuned < turns) & (now > 0))
    if not len(untrained):
        return None
    pair = int(untrained[0])
    channels = pair_channels(layout, 2 * len(now), layer.head_dim, layer.offset)[pair]
    return UntrainedPair(
        pair=pair,
        channels=(int(channels[0]), int(channels[1])),
        pretrain_period=float(2 * np.pi / before[pair]),
        period=float(2 * np.pi / now[pair]),
        coverage=float(min(1.0, max(pretrained[pair], tuned[pair]))),
    )


def _notes(
    layers: Sequence[LayerRope], widest: Sequence[LayerRope], metadata: Mapping[str, Any], answer: Prediction
) -> tuple[str, ...]:
    notes = []
    still = sum(not layer.rotary_dim for layer in layers)
    windows = sorted(
        {layer.window for layer in layers if layer.rotary_dim and layer.window and layer not in widest}
    )
    if still:
        notes.append(f"{still} of {len(layers)} layers have no RoPE and are left out")
    if windows:
        rest = len(layers) - len(widest) - still
        sizes = " or ".join(f"{window:,}" for window in windows)
        notes.append(f"{rest} of {len(layers)} layers see a window of {sizes} tokens only and are left out")
    if answer.rule in ("dynamic", "longrope"):
        at = f"{answer.target.length:,} tokens" if answer.target else "the training length"
        notes.append(f"the {answer.rule} rule changes frequencies with the length: taken at {at}")
    recorded = metadata.get("base")
    if recorded is not None and recorded != answer.base:
        notes.append(f"ropediag.json records base {recorded:,.10g}, not the {answer.base:,.10g} used here")
    return tuple(notes)

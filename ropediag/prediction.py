"""What the laws say of one checkpoint, config or set of numbers, before any model is loaded.

Takes the numbers from ``checkpoint``, the frequencies from ``scaling``, and applies ``limits`` to the
layers that see furthest. A config.json that leaves entries to its class is completed by ``config_class``,
which imports torch for it; a complete one, and numbers, need none. Lengths and periods are tokens; pairs
count from 0, the fastest.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ropediag import limits
from ropediag.bound import UntrainedPair, bound_layer, first_untrained
from ropediag.checkpoint import CONFIG, Training, read_checkpoint, resolve_training
from ropediag.config_class import Completed, read_through_class
from ropediag.errors import ConfigError
from ropediag.reach import Frequencies, Target, TargetAnswer, answer_target, is_plain
from ropediag.retrieval_bound import SEARCHED, bm_bound
from ropediag.rope_config import LayerRope, read_layers, read_layout, widest_layers
from ropediag.rope_parameters import plain_config, read_rule, scale_config

FOLLOW_LENGTH = ("dynamic", "longrope", "qwen_ntk")  # rules whose frequencies change with the running length


@dataclass(frozen=True)
class Prediction:
    """The laws' answer for the layers of a model that see furthest.

    Attributes
    ----------
    sources : where each of base, pretrain_base, train_len and tune_len came from
    rule : name of the scaling rule, "default" for none
    inv_freq, pretrain_inv_freq : frequency of each pair now and in pretraining, radians per token; 0 for one
        that never turns
    critical_dimension, tuned_critical_dimension : dimensions trained by pretraining, by tuning alone
    critical_base : base above which tuning at tune_len leaves pairs untrained
    limit : tokens, or None: no bound of this kind
    fitted_limit : tokens, by ``limits.fitted_limit``; None under scaled frequencies, or where limit is None
    law : in words, what sets the limit
    first_untrained : what breaks first; None if nothing does
    retrieval_bound : first lag with B_m < 0, tokens; None if not below 2^22
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
    inv_freq: tuple[float, ...]
    pretrain_inv_freq: tuple[float, ...]
    critical_dimension: int
    tuned_critical_dimension: int
    critical_base: float
    limit: float | None
    fitted_limit: float | None
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
    scaling: str | Mapping[str, Any] | None = None,
    factor: float | None = None,
    target_len: int | None = None,
    turns: float = 1.0,
    retrieval: bool = True,
) -> Prediction:
    """Apply the laws to a checkpoint directory, a bare config.json, or numbers alone.

    Parameters
    ----------
    path : checkpoint directory or config.json; without it base, train_len and rotary_dim are needed
    base, pretrain_base : float; else from the config and ``ropediag.json``; pretrain_base defaults to base
    train_len, tune_len : int, tokens; else from ``ropediag.json`` or ``original_max_position_embeddings``;
        tune_len defaults to train_len
    rotary_dim : int, dimensions; with a path it must agree with the config
    scaling, factor : a scaling rule to apply in place of the config's: by name (linear, ntk, dynamic, yarn,
        llama3) and factor, as ``ropediag tune`` takes it, or whole, as the ``rope_scaling`` of a config.json
    target_len : int, tokens, the length to reach
    turns : float, the share of a turn that counts as trained, see ``limits``
    retrieval : bool; False leaves out the search for bases that keep B_m >= 0 up to ``target_len``, which can
        take seconds

    Raises
    ------
    ConfigError
        If a file cannot be read, a value is out of range, or nothing states the training length.
    """
    rule = read_rule(scaling, factor)
    stated, metadata = read_checkpoint(Path(path)) if path is not None else _numbers(rotary_dim, base)
    completed = read_through_class(stated)
    config = completed.config
    widest = widest_layers(read_layers(config))
    if path is not None and rotary_dim not in (None, widest[0].rotary_dim):
        raise ConfigError(
            f"--rotary-dim is {rotary_dim}, but {path} rotates {widest[0].rotary_dim} dimensions of each "
            "head. Leave out the flag or the path."
        )
    flags = {"base": base, "pretrain_base": pretrain_base, "train_len": train_len, "tune_len": tune_len}
    distinct = [layer for index, layer in enumerate(widest) if layer not in widest[:index]]
    trainings = [resolve_training(flags, metadata, _refer(layer, rule)) for layer in distinct]
    if rule is not None:
        config = scale_config(config, rule, trainings[0].train_len, trainings[0].base)
        widest = widest_layers(read_layers(config))
        distinct, trainings = widest[:1], [_scale_training(trainings[0], widest[0], rule)]
    target = None if target_len is None else Target(target_len, retrieval)
    answers = [
        _predict_layer(layer, read_layout(config), training, turns, target)
        for layer, training in zip(distinct, trainings, strict=True)
    ]
    answer = min(answers, key=lambda found: math.inf if found.limit is None else found.limit)
    source = "flags" if path is None else str(path)
    notes = _notes(read_layers(config), widest, metadata, answer)
    sources = _name_owner(answer.sources, completed)
    return replace(
        answer, source=source, sources=sources, notes=notes + ((completed.note,) if completed.note else ())
    )


def limit_of(config: Mapping[str, Any], training: Training, turns: float = 1.0) -> float | None:
    """The limit alone, tokens, of a model by its config and its training; None for no bound of this kind."""
    layers = widest_layers(read_layers(config))
    found = {bound_layer(layer, training, turns).limit for layer in layers}
    return min((limit for limit in found if limit is not None), default=None)


def _numbers(rotary_dim: int | None, base: float | None) -> tuple[dict[str, Any], dict[str, Any]]:
    if rotary_dim is None or base is None:
        missing = [name for name, value in (("base", base), ("rotary_dim", rotary_dim)) if value is None]
        raise ConfigError(
            "without a checkpoint base, rotary_dim and train_len are needed, and there is no "
            f"{' and no '.join(missing)}. Pass them, or the path of a checkpoint or config.json."
        )
    return plain_config(rotary_dim, base), {}


def _refer(layer: LayerRope, rule: Mapping[str, Any] | None) -> LayerRope:
    """Let a rule state the length of pretraining where nothing else does."""
    stated = (rule or {}).get("original_max_position_embeddings")
    return layer if layer.original_len or not stated else replace(layer, original_len=int(stated))


def _name_owner(sources: Mapping[str, str], completed: Completed) -> Mapping[str, str]:
    """Name the class as the source of the base where config.json leaves the base to it."""
    if sources["base"] != CONFIG or "rope_theta" not in completed.filled:
        return sources
    return {**sources, "base": f"transformers' {completed.owner}"}


def _scale_training(training: Training, layer: LayerRope, rule: Mapping[str, Any]) -> Training:
    """Follow a rule that is another base; the base of pretraining stays as it was."""
    if layer.base == training.base:
        return training
    sources = dict(training.sources)
    if sources["pretrain_base"] == "same as base":
        sources["pretrain_base"] = f"{sources['base']}, before {rule['rope_type']}"
    sources["base"] = f"{rule['rope_type']}, factor {rule['factor']:g}"
    return replace(training, base=layer.base, sources=sources)


def _predict_layer(
    layer: LayerRope, layout: str, training: Training, turns: float, target: Target | None
) -> Prediction:
    bound = bound_layer(layer, training, turns, target.length if target else None)
    now, before, limit = bound.now, bound.before, bound.limit
    train_len, tune_len = training.train_len, training.tune_len
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
        inv_freq=tuple(now.tolist()),
        pretrain_inv_freq=tuple(before.tolist()),
        critical_dimension=limits.critical_dimension(before, train_len, turns),
        tuned_critical_dimension=limits.critical_dimension(now, tune_len, turns),
        critical_base=limits.critical_base(training.pretrain_base, train_len, tune_len, turns),
        limit=limit,
        fitted_limit=_fitted_limit(now, training, limit),
        law=bound.law,
        first_untrained=first_untrained(layer, layout, bound, training, turns),
        retrieval_bound=bm_bound(now),
        target=None if target is None else answer_target(target, limit, now, before, training, turns),
        notes=(),
    )


def _fitted_limit(now: Frequencies, training: Training, limit: float | None) -> float | None:
    """The fitted law beside the paper's, where that is about plain frequencies and sets a limit."""
    if limit is None or not is_plain(now, training.base):
        return None
    return limits.fitted_limit(
        2 * len(now), training.base, training.pretrain_base, training.train_len, training.tune_len
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
    if answer.rule in FOLLOW_LENGTH:
        at = f"{answer.target.length:,} tokens" if answer.target else "the training length"
        notes.append(f"the {answer.rule} rule changes frequencies with the length: taken at {at}")
    if answer.target and answer.target.length > SEARCHED:
        notes.append(f"bases that keep B_m >= 0 are searched for targets up to {SEARCHED:,} tokens only")
    recorded = metadata.get("base")
    if recorded is not None and recorded != answer.base:
        notes.append(f"ropediag.json records base {recorded:,.10g}, not the {answer.base:,.10g} used here")
    return tuple(notes)

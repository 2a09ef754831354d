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
from ropediag.checkpoint import CONFIG, TrainingFlags, read_checkpoint, resolve_training
from ropediag.config_class import Completed, read_through_class
from ropediag.errors import ConfigError
from ropediag.reach import Target, TargetAnswer, answer_target
from ropediag.retrieval_bound import SEARCHED, bm_bound
from ropediag.rope import pair_channels
from ropediag.rope_config import LayerRope, read_layers, read_layout, widest_layers
from ropediag.rope_parameters import plain_config, read_rule, scale_config
from ropediag.theory.phases import PhaseSpec, TrainingHistory
from ropediag.theory.training import PredictedLimit, Training, find_base

FOLLOW_LENGTH = ("dynamic", "longrope", "qwen_ntk")  # rules whose frequencies change with the running length


@dataclass(frozen=True)
class UntrainedPair:
    """The first pair without a full turn in training: ``coverage`` is the share of a turn it showed there.

    ``reach`` is its trained reach, tokens; periods are tokens too.
    """

    pair: int
    channels: tuple[int, int]
    pretrain_period: float
    period: float
    coverage: float
    reach: float


@dataclass(frozen=True)
class Prediction:
    """The laws' answer for the layers of a model that see furthest.

    Attributes
    ----------
    sources : where each of base, pretrain_base, train_len and tune_len came from
    phases : of training, oldest first, as objects of JSON
    rule : name of the scaling rule, "default" for none
    inv_freq, pretrain_inv_freq : frequency of each pair now and in pretraining, radians per token; 0 for one
        that never turns
    critical_dimension, tuned_critical_dimension : dimensions trained by pretraining, by tuning alone
    critical_base : base above which tuning at tune_len leaves pairs untrained; None where pretraining was no
        plain RoPE
    predicted_limit : the law's limit, tokens, or None: no bound of this kind
    law : in words, what sets it
    assumes_tuning : whether no phase of training had the rotation in use, which the law is about
    first_reach : smallest trained reach, tokens, a lower bound; None if no lag turns a pair to unseen angles
    reach : trained reach of each pair, tokens; None for one that made a full turn
    fitted_limit : tokens, by ``limits.fitted_limit``; None under scaled frequencies, or without a limit
    first_untrained : what breaks first; None if nothing does
    retrieval_bound : first lag with B_m < 0, tokens; None if not below 2^22
    """

    source: str
    sources: Mapping[str, str]
    phases: tuple[Mapping[str, Any], ...]
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
    critical_base: float | None
    predicted_limit: float | None
    law: str
    assumes_tuning: bool
    first_reach: float | None
    reach: tuple[float | None, ...]
    fitted_limit: float | None
    first_untrained: UntrainedPair | None
    retrieval_bound: int | None
    target: TargetAnswer | None
    notes: tuple[str, ...]

    def describe_limit(self) -> str:
        """Write the predicted limit in words, without what sets it."""
        return PredictedLimit(self.predicted_limit, self.law, self.assumes_tuning).describe()


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
    phases: Sequence[PhaseSpec] = (),
    retrieval: bool = True,
) -> Prediction:
    """Apply the laws to a checkpoint directory, a bare config.json, or numbers alone.

    Parameters
    ----------
    path : checkpoint directory or config.json; without it base, train_len and rotary_dim are needed
    base, pretrain_base : float; else from the config and ``ropediag.json``; pretrain_base defaults to the
        base of the config
    train_len, tune_len : int, tokens; else as ``resolve_training`` finds them
    rotary_dim : int, dimensions; with a path it must agree with the config
    scaling, factor : a scaling rule to apply in place of the config's: by name (linear, ntk, dynamic, yarn,
        llama3) and factor, as ``ropediag tune`` takes it, or whole, as the ``rope_scaling`` of a config.json
    target_len : int, tokens, the length to reach
    turns : float, the share of a turn that counts as trained, see ``limits``
    phases : of training, oldest first, in place of what any file states
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
    flags = TrainingFlags(train_len, tune_len, pretrain_base, tuple(phases), base, rule)
    history = resolve_training(flags, metadata, config)
    running = config
    if rule is not None:
        running = scale_config(config, rule, history.train_len, history.base)
    used = [
        replace(layer, base=base) if base is not None and rule is None else layer
        for layer in widest_layers(read_layers(running))
    ]
    training = history.build(widest, used, target_len)
    target = None if target_len is None else Target(target_len, retrieval)
    answers = [
        _predict_layer(used[at], read_layout(config), training.take([at]), history, turns, target)
        for at in training.distinct(range(len(used)))
    ]
    answer = min(
        answers, key=lambda found: math.inf if found.predicted_limit is None else found.predicted_limit
    )
    source = "flags" if path is None else str(path)
    notes = _notes(read_layers(config), widest, answer)
    sources = _name_owner(answer.sources, completed)
    if rule is not None and answer.base != history.base:
        sources = {**sources, "base": f"{rule['rope_type']}, factor {rule['factor']:g}"}
    return replace(
        answer,
        source=source,
        sources=sources,
        notes=(*history.notes, *notes, *((completed.note,) if completed.note else ())),
    )


def predict_training(
    config: Mapping[str, Any], history: TrainingHistory, length: int | None = None
) -> Training:
    """Compute what training showed the layers of a model, from its completed config.

    Parameters
    ----------
    length : tokens, where rules that follow the running length are taken; None for the training length

    Raises
    ------
    ConfigError
        If the config states no rotation that can be computed.
    """
    return history.build(read_layers(config), length=length)


def _numbers(rotary_dim: int | None, base: float | None) -> tuple[dict[str, Any], dict[str, Any]]:
    if rotary_dim is None or base is None:
        missing = [name for name, value in (("base", base), ("rotary_dim", rotary_dim)) if value is None]
        raise ConfigError(
            "without a checkpoint base, rotary_dim and train_len are needed, and there is no "
            f"{' and no '.join(missing)}. Pass them, or the path of a checkpoint or config.json."
        )
    return plain_config(rotary_dim, base), {}


def _name_owner(sources: Mapping[str, str], completed: Completed) -> Mapping[str, str]:
    """Name the class as the source of the base where config.json leaves the base to it."""
    if sources["base"] != CONFIG or "rope_theta" not in completed.filled:
        return sources
    return {**sources, "base": f"transformers' {completed.owner}"}


def _predict_layer(
    layer: LayerRope,
    layout: str,
    training: Training,
    history: TrainingHistory,
    turns: float,
    target: Target | None,
) -> Prediction:
    limit, reach = training.predicted_limit(turns), training.reach(turns)[0]
    now, first = training.inv_freq[0], training.phases[0]
    pretrain_base = find_base(first.inv_freq[0], history.pretrain_base)
    numbers = (history.train_len, max(history.train_len, history.tune_len))
    return Prediction(
        source="",
        sources=history.sources,
        phases=tuple(history.to_json()),
        rule=layer.rule,
        layout=layout,
        head_dim=layer.head_dim,
        rotary_dim=layer.rotary_dim,
        base=layer.base,
        pretrain_base=history.pretrain_base,
        train_len=history.train_len,
        tune_len=history.tune_len,
        turns=turns,
        inv_freq=tuple(now.tolist()),
        pretrain_inv_freq=tuple(first.inv_freq[0].tolist()),
        critical_dimension=2 * int(training.critical_pair(turns)[0]),
        tuned_critical_dimension=limits.critical_dimension(now, history.tune_len, turns),
        critical_base=None if pretrain_base is None else limits.critical_base(pretrain_base, *numbers, turns),
        predicted_limit=limit.value,
        law=limit.law,
        assumes_tuning=limit.assumes_tuning,
        first_reach=training.first_reach(turns),
        reach=tuple(float(value) if math.isfinite(value) else None for value in reach),
        fitted_limit=_fitted_limit(training, history, limit.value),
        first_untrained=_first_untrained(layer, layout, training, turns),
        retrieval_bound=bm_bound(now),
        target=None if target is None else answer_target(target, limit.value, training, history, turns),
        notes=(),
    )


def _fitted_limit(training: Training, history: TrainingHistory, limit: float | None) -> float | None:
    """The fitted law beside the paper's, where that is about plain frequencies and sets a limit."""
    base = find_base(training.inv_freq[0], training.base[0])
    before = find_base(training.phases[0].inv_freq[0], history.pretrain_base)
    if limit is None or base is None or before is None:
        return None
    tune_len = max(history.train_len, history.tune_len)
    return limits.fitted_limit(2 * training.inv_freq.shape[1], base, before, history.train_len, tune_len)


def _first_untrained(layer: LayerRope, layout: str, training: Training, turns: float) -> UntrainedPair | None:
    """Find the first pair without a full turn; None if there is none, or the window hides its new angles."""
    if training.first_reach(turns) is None:
        return None
    pair = int(training.critical_pair(turns)[0])
    channels = pair_channels(layout, layer.rotary_dim, layer.head_dim, layer.offset)[pair]
    return UntrainedPair(
        pair=pair,
        channels=(int(channels[0]), int(channels[1])),
        pretrain_period=2 * math.pi / float(training.phases[0].inv_freq[0, pair]),
        period=float(training.period[0, pair]),
        coverage=min(1.0, float(training.turns[0, pair])),
        reach=float(training.reach(turns)[0, pair]),
    )


def _notes(layers: Sequence[LayerRope], widest: Sequence[LayerRope], answer: Prediction) -> tuple[str, ...]:
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
    return tuple(notes)

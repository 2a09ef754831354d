"""What one capture will measure: which layers and heads, on which lags, positions and rows.

Everything that is known before the first pass is decided here and written once, as the header of the
file; a layer's measurement then depends on the plan and on its tapped tensors alone.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from ropediag.capture.rows import LEVELS, choose_rows
from ropediag.config import CaptureConfig
from ropediag.config_class import list_entries
from ropediag.errors import CaptureError, ConfigError, ModelError
from ropediag.models.economy import WHOLE, Economy
from ropediag.models.logits import LogitRule, read_logit_rules
from ropediag.models.ranks import ALONE, Ranks, check_shares, find_ranks
from ropediag.models.rotation import Rotation, measure_rotation
from ropediag.rope_config import read_layers
from ropediag.scaling import layer_inv_freq
from ropediag.schema import block_size, lag_edges, position_edges
from ropediag.theory.phases import TrainingHistory
from ropediag.theory.record import describe_training
from ropediag.theory.training import Training

POSITION_BINS = 512
NORM_BINS = 16
SAMPLES = 64
# How far rounding to 16 bits moves a frequency: relative in bfloat16, by half a step of float16 near 0.
ROUNDED, STEP = 0.01, 2.0**-25


@dataclass(frozen=True, eq=False)
class CapturePlan:
    """All a layer's measurement needs to know beside its queries and keys.

    Attributes
    ----------
    length, sequences : tokens per sequence, token sequences
    layers : captured layers; rows of ``rotation`` and ``training`` are all layers of the model
    heads, kv_heads : captured query heads and the key heads they use, over all layers
    rotation : the measured rotation
    rules : layer -> how it makes logits
    history, training : phases of training as they are stated, and what they showed all layers
    bases : (layer,) rotary base that the config states, NaN where the layer does not rotate
    stated : (layer, pair) frequencies that the config states, see ``stated_frequencies``
    lag_edges, coarse_edges, position_edges, norm_edges : lower edges of the bins
    rows : (sequence, row) sampled queries
    samples : (sample,) sampled positions
    keep_qk : (layer, query head) to keep in full
    economy : what the passes do on some positions at a time
    ranks : which share of every layer's heads this process has; ``heads`` and the like are those of all
    """

    length: int
    sequences: int
    layers: tuple[int, ...]
    heads: tuple[int, ...]
    kv_heads: tuple[int, ...]
    rotation: Rotation
    rules: dict[int, LogitRule]
    history: TrainingHistory
    training: Training
    bases: Float[np.ndarray, " layer"]
    stated: Float[np.ndarray, "layer pair"]
    lag_edges: list[int]
    coarse_edges: list[int]
    position_edges: list[int]
    norm_edges: list[int]
    rows: Int[np.ndarray, "sequence row"]
    samples: Int[np.ndarray, " sample"]
    keep_qk: tuple[tuple[int, int], ...]
    economy: Economy = WHOLE
    ranks: Ranks = ALONE

    def row_of(self, layer: int) -> int:
        """Row of the rotation that describes this layer of the model."""
        return int(np.flatnonzero(self.rotation.layers == layer)[0])


def make_plan(model: Any, config: CaptureConfig, history: TrainingHistory) -> CapturePlan:
    """Measure the model's rotation and lay out the capture.

    Raises
    ------
    ConfigError, CaptureError
        If a layer or head is asked for that the model does not have.
    ModelError
        If the model's rotation is not understood.
    """
    samples = _choose_samples(config.length)
    rotation = measure_rotation(model, samples)
    layers = _choose("layer", config.layers, tuple(int(layer) for layer in rotation.layers))
    ranks = find_ranks(model)
    query_heads = max(rotation.query_heads)
    check_shares(model, ranks, query_heads, max(rotation.kv_heads))
    heads = _choose("head", config.heads, tuple(range(query_heads * ranks.size)))
    for layer, head in config.keep_qk:
        if layer not in layers or head not in heads:
            raise ConfigError(f"layer {layer}, head {head} is to be kept, but it is not captured.")
    kv_heads = {
        head // (queries // keys)
        for queries, keys in zip(rotation.query_heads, rotation.kv_heads, strict=True)
        for head in heads
        if head < queries * ranks.size
    }
    rules = read_logit_rules(model)
    generator = np.random.default_rng(config.seed)
    rows = [
        choose_rows(config.length, min(config.rows, config.length), generator)
        for _ in range(config.sequences)
    ]
    fewest = min(map(len, rows))
    return CapturePlan(
        length=config.length,
        sequences=config.sequences,
        layers=layers,
        heads=heads,
        kv_heads=tuple(sorted(kv_heads)),
        rotation=rotation,
        rules=rules,
        history=history,
        training=build_training(model, rotation, history, rules),
        bases=_layer_bases(model, rotation),
        stated=stated_frequencies(model, rotation, config.length),
        lag_edges=lag_edges(config.length),
        coarse_edges=lag_edges(config.length, 2),
        position_edges=position_edges(config.length, POSITION_BINS),
        norm_edges=position_edges(config.length, NORM_BINS),
        rows=np.stack([chosen[-fewest:] for chosen in rows]),
        samples=samples,
        keep_qk=tuple(sorted(config.keep_qk)),
        ranks=ranks,
    )


def header(plan: CapturePlan) -> dict[str, np.ndarray]:
    """Coordinates and everything else that is known before the first pass, by name in the file."""
    picked = [plan.row_of(layer) for layer in plan.layers]
    spec = plan.rotation.spec
    angles = plan.rotation.angles[picked]
    measured, stated = spec.inv_freq[picked][..., None], plan.stated[picked][..., None]
    rounding = np.angle(np.exp(1j * (angles - measured * plan.samples)))
    coordinates = {
        "sequence": np.arange(plan.sequences),
        "layer": np.array(plan.layers),
        "query_head": np.array(plan.heads),
        "kv_head": np.array(plan.kv_heads),
        "pair": np.arange(spec.inv_freq.shape[1]),
        "lag": np.array(plan.lag_edges),
        "coarse_lag": np.array(plan.coarse_edges),
        "position": np.arange(plan.length),
        "position_bin": np.array(plan.position_edges),
        "norm_bin": np.array(plan.norm_edges),
        "row": np.arange(plan.rows.shape[1]),
        "level": np.array(LEVELS),
        "sample": plan.samples,
        "channel": np.arange(int(spec.head_dim.max())),
    }
    given = {
        "rope/inv_freq": spec.inv_freq[picked],
        "rope/base": plan.bases[picked],
        "rope/channels": spec.channels[picked],
        "rope/attention_factor": spec.attention_factor[picked],
        "rope/head_dim": spec.head_dim[picked],
        "rope/critical_pair": plan.training.critical_pair()[picked],
        **_describe_logits([plan.rules[layer] for layer in plan.layers]),
        "rows/query_position": plan.rows,
        "vectors/angle": angles,
        "vectors/angle_error": rounding + (measured - stated) * plan.samples,
    }
    given |= describe_training(plan.training.take(picked))
    coordinates["phase"] = np.arange(len(plan.training.phases))
    if plan.keep_qk:
        coordinates["kept"] = np.arange(len(plan.keep_qk))
        coordinates["query_block"] = coordinates["key_block"] = np.arange(
            0, plan.length, block_size(plan.length)
        )
        given["samples/kept_layer"], given["samples/kept_head"] = np.array(plan.keep_qk).T
    return coordinates | given


def _describe_logits(rules: list[LogitRule]) -> dict[str, np.ndarray]:
    return {
        "rope/logit_scaling": np.array([rule.scaling for rule in rules]),
        "rope/window": np.array([rule.window or -1 for rule in rules]),
        "rope/logit_softcap": np.array([np.nan if rule.softcap is None else rule.softcap for rule in rules]),
    }


def _choose(kind: str, wanted: tuple[int, ...] | None, existing: tuple[int, ...]) -> tuple[int, ...]:
    if wanted is None:
        return existing
    missing = sorted(set(wanted) - set(existing))
    if missing:
        raise CaptureError(
            f"the model has no {kind} {missing[0]}: its {kind}s with attention are {list(existing)}."
        )
    return tuple(sorted(wanted))


def _choose_samples(length: int) -> Int[np.ndarray, " sample"]:
    """Positions spread evenly by ratio, the first and the last always among them."""
    return np.unique(np.concatenate([[0], np.geomspace(1, length - 1, SAMPLES - 1).round()]).astype(np.int64))


def build_training(
    model: Any, rotation: Rotation, history: TrainingHistory, rules: dict[int, LogitRule]
) -> Training:
    """Compute what training showed the pairs of each layer, which turn now as was measured.

    Raises
    ------
    ModelError
        If the config states another number of pairs than the model turns.
    """
    layers = read_layers(list_entries(model.config))
    own = [replace(layers[layer], window=rules[int(layer)].window) for layer in rotation.layers]
    try:
        return history.build(own, np.array(rotation.spec.inv_freq))
    except ConfigError as error:
        raise ModelError(f"{model.config.model_type}: {error}") from error


def _layer_bases(model: Any, rotation: Rotation) -> Float[np.ndarray, " layer"]:
    """List the rotary base of each layer that rotates."""
    layers = read_layers(list_entries(model.config))
    rows = enumerate(rotation.layers)
    return np.array([layers[at].base if rotation.spec.pair_count(row) else np.nan for row, at in rows])


def stated_frequencies(model: Any, rotation: Rotation, length: int) -> Float[np.ndarray, "layer pair"]:
    """Compute in float64 the frequencies that the config states, at the length of the capture.

    A model cast as a whole to 16 bits turns at rounded frequencies, which its own buffers cannot show. Where
    the config states other frequencies than rounded ones, or none that can be computed, the model turns by a
    rule that is not understood here, and its own frequencies stand: the comparison says nothing of them.
    """
    found = rotation.spec.inv_freq.copy()
    layers = read_layers(list_entries(model.config))
    for row, layer in enumerate(rotation.layers):
        measured = found[row, : rotation.spec.pair_count(row)]
        try:
            stated, _ = layer_inv_freq(layers[layer], length)
        except ConfigError:  # a rule of the model's own
            continue
        if len(stated) == len(measured) and np.allclose(measured, stated, rtol=ROUNDED, atol=STEP):
            measured[:] = stated
    return found

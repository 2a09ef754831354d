"""The attribution itself: the path from limited lags to the model as it is, point by point.

``attribute_checkpoint`` starts from an ``AttributeConfig``, ``attribute_model`` from a model in memory.
"""

import math
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from ropediag.attribution.config import AttributeConfig
from ropediag.attribution.estimate import estimate_cost
from ropediag.attribution.gates import GatedLayer
from ropediag.attribution.layout import Layout
from ropediag.attribution.passes import GatedModel
from ropediag.attribution.points import PointStore
from ropediag.attribution.result import Attribution
from ropediag.attribution.walk import Walk
from ropediag.capture.plan import build_training
from ropediag.checkpoint import flags_of
from ropediag.errors import ConfigError
from ropediag.evaluate.readers import check_reader
from ropediag.intervene.intervention import Intervention
from ropediag.intervene.pair_set import PairSet
from ropediag.intervene.selection import choose_pairs, find_targets
from ropediag.models.bridge import borrow_model, model_name
from ropediag.models.inputs import read_inputs, take_ids
from ropediag.models.load import LoadedModel, load_model
from ropediag.models.logits import read_logit_rules
from ropediag.models.memory import explain_exhaustion
from ropediag.models.preflight import check_inputs
from ropediag.models.record import describe_model
from ropediag.models.rotation import Rotation, measure_rotation
from ropediag.schema import lag_edges
from ropediag.store import check_name
from ropediag.text import hash_tokens
from ropediag.theory.training import Training

Say = Callable[[str], None]


def attribute_checkpoint(config: AttributeConfig, say: Say = lambda line: None) -> Attribution | None:
    """Load a model and text, split the cost of its unseen angles, and write the file if one is asked for.

    Parameters
    ----------
    config : what to do
    say : told about progress, a line at a time

    Returns
    -------
    None where no untrained angle occurs at this length; nothing is written then

    Raises
    ------
    ConfigError, ModelError, CaptureError, FormatError
        One clear line each; nothing is left under the name of the file.
    """
    check_inputs(config)
    tokenizer, ids = read_inputs(config)
    loaded = load_model(
        config.model,
        revision=config.revision,
        device=config.device,
        dtype=config.dtype,
        attention=config.attention,
        allow_pickle=config.allow_pickle,
        tokenizer=tokenizer,
    )
    return _attribute(loaded, ids, config, say)


def attribute_model(
    model: Any,
    input_ids: Any,
    *,
    attention_mask: Any | None = None,
    tokenizer: Any | None = None,
    name: str | None = None,
    say: Say = lambda line: None,
    **options: Any,
) -> Attribution | None:
    """Split the cost of unseen angles of a model that is already in memory.

    Parameters
    ----------
    model : a transformers decoder with a language-model head, or a TransformerBridge; left as it was
    input_ids : token ids, one row a sequence: an array, a tensor, lists, or what a tokenizer returned
    attention_mask : refused where it leaves tokens out, which would be counted as text
    tokenizer : to know leading special tokens, as in ``evaluate_model``
    name : what to call the model; its config's name or type if None
    say : told about progress
    options : fields of ``AttributeConfig``: kind, at, layers, heads, positions, stretches, tolerance,
        points, out, resume, train_len, tune_len, pretrain_base, phases, bos, force

    Returns
    -------
    None where no untrained angle occurs at this length

    Raises
    ------
    ConfigError, ModelError, CaptureError, FormatError
        As ``attribute_checkpoint``.
    """
    ids = take_ids(input_ids, attention_mask)
    name = name or model_name(model)
    config = AttributeConfig(model=name, length=ids.shape[1], sequences=len(ids), **options)
    if config.out is not None:
        check_name(config.out, config.force)
    with borrow_model(model, tokenizer, name) as loaded:
        return _attribute(loaded, ids, config, say)


def _attribute(loaded: LoadedModel, ids: np.ndarray, config: AttributeConfig, say: Say) -> Attribution | None:
    """Check, choose the gates, integrate, write."""
    begun = time.perf_counter()
    if loaded.dtype_reason:
        say(loaded.dtype_reason)
    reader, input_ids = check_reader(loaded, ids, flags_of(config), config.bos)
    if reader.leading.note:
        say(reader.leading.note)
    rotation = measure_rotation(loaded.model, np.array([config.length - 1]))
    training = build_training(loaded.model, rotation, reader.training, read_logit_rules(loaded.model))
    gates = choose_gates(config, rotation, training)
    if gates is None:
        return None
    stretches = choose_stretches(config, min(gates.reaches()))
    targets = find_targets(Intervention(config.kind, limits=gates.limits(config.multiple)), rotation)
    edges = lag_edges(config.length)
    layers = {
        layer: GatedLayer(target, config.kind, config.length, edges) for layer, target in targets.items()
    }
    layout = Layout(layers, len(edges))
    store = PointStore(config, loaded.fingerprint(), hash_tokens(ids))
    advice = "read fewer tokens, or put gates into fewer layers"
    with explain_exhaustion(f"the gates of {loaded.name} were at work", advice):
        model = GatedModel(loaded.model, targets, layers, config.length, stretches[0].start)
        say(estimate_cost(model, input_ids[0]).describe(len(ids), config.points))
        with model.ready():
            walk = Walk(model, layout, input_ids, stretches, store, say)
            intervals = walk.refine(config.tolerance, config.points)
        windowed = reader.windowed(input_ids, reader.training.trained)
    found = Attribution(
        model=loaded.name,
        training=reader.training,
        kind=config.kind,
        at=config.multiple,
        gates=gates,
        layout=layout,
        stretches=stretches,
        edges=tuple(edges),
        points=intervals + 1,
        parts=walk.gather(intervals),
        coarser=walk.gather(intervals // 2),
        nll_windowed=windowed,
        attributes={
            **describe_model(loaded, reader.training),
            "kind": "attribution",
            "config": config.recipe(),
            "seed": config.seed,
            "length": config.length,
            "text_hash": hash_tokens(ids),
            "bos": reader.leading.name,
            "window_len": reader.training.trained,
            "seconds": time.perf_counter() - begun,
        },
    )
    if config.out is not None:
        found.write(config.out, force=config.force)
        store.remove()
    return found


def choose_gates(config: AttributeConfig, rotation: Rotation, training: Training) -> PairSet | None:
    """Choose the pairs that meet unseen angles in a sequence, with their trained reaches.

    Returns
    -------
    None where no pair of the chosen layers and heads does

    Raises
    ------
    ConfigError
        If the model has no such layer or head.
    """
    chosen = choose_pairs("all", rotation, training.critical_pair(), config.layers, config.heads)
    rows = {int(layer): row for row, layer in enumerate(rotation.layers)}
    reach, unseen = training.reach(), training.meets_unseen(config.length)
    met = {
        (layer, head): {pair: float(reach[rows[layer], pair]) for pair in pairs if unseen[rows[layer], pair]}
        for (layer, head), pairs in chosen.items()
    }
    met = {place: own for place, own in met.items() if own}
    return PairSet({place: tuple(own) for place, own in met.items()}, met) if met else None


def choose_stretches(config: AttributeConfig, reach: float) -> tuple[range, ...]:
    """Cut the positions whose loss is split, from the smallest reach on by default, into equal stretches.

    Raises
    ------
    ConfigError
        If there are fewer positions than stretches.
    """
    first, stop = config.positions or (math.ceil(reach), config.length)
    if stop - first < config.stretches:
        raise ConfigError(
            f"positions {first:,} to {stop - 1:,} cannot be cut into {config.stretches} stretches: "
            "ask for fewer."
        )
    edges = [first + (stop - first) * number // config.stretches for number in range(config.stretches + 1)]
    return tuple(range(begin, end) for begin, end in pairwise(edges))

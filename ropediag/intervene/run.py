"""The ablation itself: the model untouched, in windows, under the intervention and under random ones.

``ablate_checkpoint`` starts from an ``AblateConfig``, ``ablate_model`` from a model in memory; both end in
the same steps.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from ropediag.capture.plan import build_training
from ropediag.checkpoint import flags_of
from ropediag.errors import ConfigError
from ropediag.evaluate.prompts import MakePrompt
from ropediag.evaluate.readers import check_reader
from ropediag.evaluate.retrieval import Recall, measure_recall, recall_lengths
from ropediag.intervene.apply import intervene
from ropediag.intervene.config import AblateConfig
from ropediag.intervene.flagged import Flagged, read_flagged
from ropediag.intervene.intervention import Pairs, Place
from ropediag.intervene.knee import measure_knees
from ropediag.intervene.pair_set import PairSet
from ropediag.intervene.reaches import limit_chosen
from ropediag.intervene.repair import measure_repair, multiples_up_to
from ropediag.intervene.result import Ablation
from ropediag.intervene.search import search_smallest
from ropediag.intervene.selection import choose_pairs, draw_random
from ropediag.intervene.subject import Loss, Subject
from ropediag.models.bridge import borrow_model, model_name
from ropediag.models.inputs import read_inputs, take_ids
from ropediag.models.load import LoadedModel, load_model
from ropediag.models.logits import read_logit_rules
from ropediag.models.preflight import check_inputs
from ropediag.models.record import describe_model
from ropediag.models.rotation import Rotation, measure_rotation
from ropediag.store import check_name
from ropediag.text import hash_tokens

Say = Callable[[str], None]


def ablate_checkpoint(config: AblateConfig, say: Say = lambda line: None) -> Ablation:
    """Load a model and text, intervene, and write the file if one is asked for.

    Parameters
    ----------
    config : what to do
    say : told about progress, a line at a time

    Raises
    ------
    ConfigError, ModelError, CaptureError, FormatError
        One clear line each; nothing is left under the name of the file.
    """
    check_inputs(config)
    flagged = read_flagged(config.capture) if config.capture is not None else None
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
    return _ablate(loaded, ids, config, flagged, say)


def ablate_model(
    model: Any,
    input_ids: Any,
    *,
    attention_mask: Any | None = None,
    tokenizer: Any | None = None,
    name: str | None = None,
    say: Say = lambda line: None,
    **options: Any,
) -> Ablation:
    """Intervene in a model that is already in memory.

    Parameters
    ----------
    model : a transformers decoder with a language-model head, or a TransformerBridge; left as it was
    input_ids : token ids, one row a sequence: an array, a tensor, lists, or what a tokenizer returned
    attention_mask : refused where it leaves tokens out, which would be counted as text
    tokenizer : for recall prompts, and to know leading special tokens, as in ``evaluate_model``
    name : what to call the model; its config's name or type if None
    say : told about progress
    options : fields of ``AblateConfig``: kind, pairs, limit, at, factor, base, layers, heads, capture,
        random, search, knee, trials, out, train_len, pretrain_base, bos, seed, force

    Raises
    ------
    ConfigError, ModelError, CaptureError, FormatError
        As ``ablate_checkpoint``.
    """
    ids = take_ids(input_ids, attention_mask)
    name = name or model_name(model)
    config = AblateConfig(model=name, length=ids.shape[1], sequences=len(ids), **options)
    if config.out is not None:
        check_name(config.out, config.force)
    flagged = read_flagged(config.capture) if config.capture is not None else None
    with borrow_model(model, tokenizer, name) as loaded:
        return _ablate(loaded, ids, config, flagged, say)


def _ablate(
    loaded: LoadedModel, ids: np.ndarray, config: AblateConfig, flagged: Flagged | None, say: Say
) -> Ablation:
    """Check, choose, measure, write."""
    begun = time.perf_counter()
    if loaded.dtype_reason:
        say(loaded.dtype_reason)
    if flagged is not None:
        flagged.check_model(loaded)
    reader, input_ids = check_reader(loaded, ids, flags_of(config), config.bos)
    training = reader.training
    if reader.leading.note:
        say(reader.leading.note)
    if config.length <= training.trained:
        longer = "tuning" if training.tune_len > training.train_len else "training"
        raise ConfigError(
            f"there is no damage to repair within the {longer} length, {training.trained} tokens: got a "
            f"length of {config.length}. Read further, 4 or 8 times as far."
        )
    rotation = measure_rotation(loaded.model, np.array([config.length - 1]))
    shown = build_training(loaded.model, rotation, training, read_logit_rules(loaded.model))
    critical = shown.critical_pair()
    subject = Subject(loaded, input_ids, rotation, training, shown, config)
    chosen = _choose_pairs(config, rotation, critical, flagged)
    sets = make_sets(subject, chosen)
    attributes = describe_model(loaded, training)
    full, windowed = subject.loss(), reader.windowed(input_ids, training.trained)
    say(f"untouched: {len(ids)} x {config.length:,} tokens")
    changed = _measure_runs(subject, sets, say)
    repairs = tuple(
        measure_repair(full, windowed, own[0], own[1:], training.trained, multiple, at)
        for at, own in zip(config.multiples or (None,), changed, strict=True)
        for multiple in multiples_up_to(training.trained, config.length)
    )
    leading = tuple(repair for repair in repairs if repair.at == repairs[0].at)
    recall = _measure_recall(subject, sets[0], reader.recall_tasks(ids), say)
    ablation = Ablation(
        model=loaded.name,
        training=training,
        change=subject.intervention(sets[0]),
        at=config.multiples,
        chosen=config.chosen,
        untouched=_leave_out(chosen, sets[0]),
        critical=dict(zip(rotation.layers.tolist(), critical.tolist(), strict=True)),
        sets=tuple(sets),
        nll=full,
        nll_windowed=windowed,
        nll_changed=np.stack([loss for own in changed for loss in own]),
        repairs=repairs,
        search=search_smallest(subject, sets[0], full, windowed, leading[-1], say) if config.search else None,
        knees=measure_knees(subject, sets[0], config.knee, say),
        recall=recall[0],
        recall_changed=recall[1],
        attributes={
            **attributes,
            **_describe_run(config, ids),
            "bos": reader.leading.name,
            "window_len": training.trained,
            "seconds": time.perf_counter() - begun,
        },
    )
    if config.out is not None:
        ablation.write(config.out, force=config.force)
    return ablation


def _choose_pairs(
    config: AblateConfig, rotation: Rotation, critical: Int[np.ndarray, " layer"], flagged: Flagged | None
) -> dict[Place, Pairs]:
    """The pairs that were asked for."""
    what = config.chosen if flagged is None else "all"
    chosen = choose_pairs(what, rotation, critical, config.layers, config.heads)
    return chosen if flagged is None else flagged.within(chosen)


def make_sets(subject: Subject, pairs: Mapping[Place, Pairs]) -> list[PairSet]:
    """The chosen pairs first, then the random sets; with reaches where the intervention goes by them."""
    config, rotation = subject.config, subject.rotation
    chosen = PairSet(pairs)
    if config.multiples:
        chosen = limit_chosen(pairs, rotation, subject.shown.reach())
        least = min(config.multiples) * min(chosen.reaches())
        if least >= config.length - 1:
            raise ConfigError(
                f"no lag in {config.length:,} tokens exceeds the smallest limit of the chosen pairs, "
                f"{least:,.0f} tokens, so nothing would change. Read further, or lower --at."
            )
    generator = np.random.default_rng(config.seed)
    return [chosen, *(draw_random(chosen, rotation, generator) for _ in range(config.draws))]


def _leave_out(pairs: Mapping[Place, Pairs], chosen: PairSet) -> dict[Place, Pairs]:
    """The pairs that were asked for and stay as they are, since they have no trained reach."""
    kept = {
        place: tuple(pair for pair in own if pair not in chosen.pairs.get(place, ()))
        for place, own in pairs.items()
    }
    return {place: own for place, own in kept.items() if own}


def _measure_runs(subject: Subject, sets: Sequence[PairSet], say: Say) -> list[list[Loss]]:
    """Loss of all sets, at one multiple of the reach after the other."""
    config, found = subject.config, list[list[Loss]]()
    for at in config.multiples or (None,):
        losses = []
        for number, chosen in enumerate(sets):
            losses.append(subject.changed_loss(chosen, multiple=at))
            what = f"random set {number} of {len(sets) - 1}" if number else "the chosen pairs"
            say(f"{config.kind}{f' at {at:g} x the reach' if at else ''}: {what}")
        found.append(losses)
    return found


def _measure_recall(
    subject: Subject, chosen: PairSet, tasks: Mapping[str, MakePrompt], say: Say
) -> tuple[tuple[Recall, ...], tuple[Recall, ...]]:
    """Recall of the untouched model and under the intervention."""
    loaded, config = subject.loaded, subject.config
    if not config.trials:
        return (), ()
    lengths = recall_lengths(subject.training.train_len, config.length)

    def measure() -> tuple[Recall, ...]:
        return tuple(
            measure_recall(loaded.model, task, make, lengths, config.trials, config.seed, say)
            for task, make in tasks.items()
        )

    untouched = measure()
    with intervene(loaded.model, subject.intervention(chosen), rotation=subject.rotation):
        return untouched, measure()


def _describe_run(config: AblateConfig, ids: np.ndarray) -> dict[str, str | int | float]:
    return {
        "kind": "ablation",
        "config": config.recipe(),
        "seed": config.seed,
        "length": config.length,
        "text_hash": hash_tokens(ids),
    }

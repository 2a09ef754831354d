"""The evaluation itself: every metric once, in order of cost, on one model.

``evaluate_checkpoint`` starts from an ``EvaluateConfig``, ``evaluate_model`` from a model in memory; both
end in the same steps.
"""

import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from ropediag.analysis.limit import excess_at_multiples, measure_limit
from ropediag.checkpoint import flags_of
from ropediag.config_class import list_entries
from ropediag.evaluate.config import EvaluateConfig
from ropediag.evaluate.harness import check_harness, run_harness
from ropediag.evaluate.keytokens import KeyTokens, find_key_tokens, score_key_tokens, short_window
from ropediag.evaluate.log_attention import scale_attention
from ropediag.evaluate.memory import ADVICE, check_memory
from ropediag.evaluate.perplexity import SlidingPerplexity, perplexity, sliding_perplexity
from ropediag.evaluate.readers import Reader, check_parent, check_reader
from ropediag.evaluate.regression import Regression, compare_losses
from ropediag.evaluate.result import Evaluation, Limits
from ropediag.evaluate.retrieval import Recall, measure_recall, recall_lengths
from ropediag.evaluate.verdict import find_disagreements
from ropediag.models.devices import input_device
from ropediag.models.inputs import read_inputs, take_ids
from ropediag.models.kernels import settle_kernels
from ropediag.models.load import LoadedModel, check_finite, load_model
from ropediag.models.loss import decode, nll_by_position
from ropediag.models.memory import explain_exhaustion
from ropediag.models.preflight import check_inputs
from ropediag.models.record import describe_model
from ropediag.prediction import predict_training
from ropediag.store import check_name
from ropediag.text import hash_tokens

Say = Callable[[str], None]


def evaluate_checkpoint(config: EvaluateConfig, say: Say = lambda line: None) -> Evaluation:
    """Load a model and text, evaluate, and write the file if one is asked for.

    Parameters
    ----------
    config : what to do
    say : told about progress, a line at a time

    Returns
    -------
    Evaluation

    Raises
    ------
    ConfigError, ModelError, CaptureError
        One clear line each; nothing is left under the name of the file.
    """
    if config.tasks:
        check_harness()
    check_inputs(config)
    tokenizer, ids = read_inputs(config)
    loaded = _load(config.model, config, tokenizer)
    parent = _load(config.parent, config) if config.parent is not None else None
    return _evaluate(loaded, parent, ids, config, say)


def evaluate_model(
    model: Any,
    input_ids: Any,
    *,
    attention_mask: Any | None = None,
    tokenizer: Any | None = None,
    name: str | None = None,
    parent: Any | None = None,
    say: Say = lambda line: None,
    **options: Any,
) -> Evaluation:
    """Evaluate a model that is already in memory.

    Parameters
    ----------
    model : a transformers decoder with a language-model head; left as it was
    input_ids : token ids, one row a sequence: an array, a tensor, lists, or what a tokenizer returned
    attention_mask : refused where it leaves tokens out, which would be counted as text
    tokenizer : for the recall prompts, and to know leading special tokens: if all sequences begin with
        them, windows and prompts do too; None for no recall
    name : what to call the model; its config's name or type if None
    parent : the model it was tuned from, in memory too
    say : told about progress
    options : fields of ``EvaluateConfig``: out, train_len, pretrain_base, log_attention, window, stride,
        trials, tasks, bos, seed, force

    Returns
    -------
    Evaluation

    Raises
    ------
    ConfigError, ModelError, CaptureError
        As ``evaluate_checkpoint``.
    """
    ids = take_ids(input_ids, attention_mask)
    name = name or _name(model)
    config = EvaluateConfig(model=name, length=ids.shape[1], sequences=len(ids), **options)
    if config.out is not None:
        check_name(config.out, config.force)
    check_finite(name, model)
    settle_kernels()
    elder = LoadedModel(parent, tokenizer, _name(parent), None) if parent is not None else None
    modes = [(each, each.training) for each in (model, parent) if each is not None]
    try:
        for each, _ in modes:
            each.eval()
        return _evaluate(LoadedModel(model, tokenizer, Path(name).name, None), elder, ids, config, say)
    finally:
        for each, mode in modes:
            each.train(mode)


def _name(model: Any) -> str:
    return Path(getattr(model.config, "name_or_path", "") or model.config.model_type).name


def _load(source: str, config: EvaluateConfig, tokenizer: Any | None = None) -> LoadedModel:
    return load_model(
        source,
        revision=config.revision if source == config.model else None,
        device=config.device,
        dtype=config.dtype,
        attention=config.attention,
        allow_pickle=config.allow_pickle,
        tokenizer=tokenizer,
    )


def _evaluate(
    loaded: LoadedModel, parent: LoadedModel | None, ids: np.ndarray, config: EvaluateConfig, say: Say
) -> Evaluation:
    """Check both models, measure, write; running out of memory is one clear line."""
    with explain_exhaustion(f"evaluating {config.length:,} tokens", ADVICE):
        return _evaluate_checked(loaded, parent, ids, config, say)


def _evaluate_checked(
    loaded: LoadedModel, parent: LoadedModel | None, ids: np.ndarray, config: EvaluateConfig, say: Say
) -> Evaluation:
    begun = time.perf_counter()
    if loaded.dtype_reason:
        say(loaded.dtype_reason)
    reader, input_ids = check_reader(loaded, ids, flags_of(config), config.bos)
    training, leading = reader.training, reader.leading
    if leading.note:
        say(leading.note)
    check_memory(loaded.model, config)
    shown = predict_training(list_entries(loaded.model.config), training, config.length)
    elder = check_parent(parent, reader, ids) if parent is not None else None
    train_len, window = training.trained, config.sliding_window(training.trained)
    attributes = describe_model(loaded, training)
    tasks = run_harness(loaded, config.tasks) if config.tasks else {}  # unknown names are found out first
    with scale_attention(loaded.model, training.train_len) if config.log_attention else nullcontext():
        nll = _measure_loss(loaded.model, input_ids, say)
        windowed = reader.windowed(input_ids, train_len)
        sliding = _measure_sliding(loaded.model, input_ids, *window, windowed, train_len, leading.count)
        recall = _measure_recall(reader, ids, config, say)
        key_tokens = _measure_key_tokens(elder or reader, input_ids, nll, windowed)
    compared = _compare_parent(elder, input_ids, windowed, train_len, config.seed, say) if elder else None
    measured = measure_limit(nll - windowed, train_len, seed=config.seed)
    evaluation = Evaluation(
        model=loaded.name,
        training=training,
        nll=nll,
        nll_windowed=windowed,
        predicted=shown.predicted_limit().value,
        first_reach=shown.first_reach(),
        measured=measured,
        excess=excess_at_multiples(nll - windowed, train_len, measured.span),
        single_pass_perplexity=perplexity(nll),
        sliding_perplexity=sliding,
        recall=recall,
        disagreement=find_disagreements(measured.position, train_len, recall),
        key_tokens=key_tokens,
        regression=compared[0] if compared else None,
        parent_limits=compared[1] if compared else None,
        tasks=tasks,
        log_attention=config.log_attention,
        attributes={
            **attributes,
            **_describe_run(config, ids),
            "bos": leading.name,
            "window_len": train_len,
            "seconds": time.perf_counter() - begun,
        },
    )
    if config.out is not None:
        evaluation.write(config.out, force=config.force)
    return evaluation


def _describe_run(config: EvaluateConfig, ids: np.ndarray) -> dict[str, str | int | float]:
    return {
        "kind": "evaluation",
        "config": config.recipe(),
        "seed": config.seed,
        "length": config.length,
        "text_hash": hash_tokens(ids),
    }


def _measure_loss(
    model: Any, ids: Int[Tensor, "sequence position"], say: Say, name: str = ""
) -> Float[np.ndarray, "sequence position"]:
    """Loss by position in one pass over each sequence."""
    rows = []
    for index in range(len(ids)):
        row = ids[index : index + 1]
        rows.append(nll_by_position(model, row, decode(model, row))[0])
        say(f"{name}loss of sequence {index + 1} of {len(ids)}")
    return np.stack(rows)


def _measure_sliding(
    model: Any,
    ids: Int[Tensor, "sequence position"],
    window: int,
    stride: int,
    windowed: Float[np.ndarray, "sequence position"],
    train_len: int,
    leading: int,
) -> SlidingPerplexity:
    """Sliding-window perplexity; with the windows of the windowed loss it is at hand already."""
    if (window, stride) == (train_len, max(1, train_len // 2)):
        return SlidingPerplexity(perplexity(windowed), window, stride)
    return sliding_perplexity(model, ids, window, stride, leading)


def _measure_recall(reader: Reader, ids: np.ndarray, config: EvaluateConfig, say: Say) -> tuple[Recall, ...]:
    if not config.trials:
        return ()
    lengths = recall_lengths(reader.training.train_len, config.length)
    return tuple(
        measure_recall(reader.loaded.model, task, make, lengths, config.trials, config.seed, say)
        for task, make in reader.recall_tasks(ids).items()
    )


def _measure_key_tokens(
    evaluator: Reader,
    ids: Int[Tensor, "sequence position"],
    nll: Float[np.ndarray, "sequence position"],
    windowed: Float[np.ndarray, "sequence position"],
) -> KeyTokens | None:
    """Let the evaluator, within the length it is at home in, choose the tokens that need long context."""
    long = evaluator.home
    if ids.shape[1] <= short_window(long):
        return None
    key = find_key_tokens(evaluator.windowed(ids, long), evaluator.windowed(ids, short_window(long)))
    return score_key_tokens(key, nll, windowed, evaluator.loaded.name, long)


def _compare_parent(
    parent: Reader,
    ids: Int[Tensor, "sequence position"],
    windowed: Float[np.ndarray, "sequence position"],
    train_len: int,
    seed: int,
    say: Say,
) -> tuple[Regression, Limits]:
    """Compare the model's windowed loss with its parent's, and find the parent's own limits."""
    model = parent.loaded.model
    other = parent.windowed(ids, train_len)
    excess = _measure_loss(model, ids.to(input_device(model)), say, f"{parent.loaded.name}: ") - other
    shown = predict_training(list_entries(model.config), parent.training, ids.shape[1])
    measured = measure_limit(excess, train_len, seed=seed)
    limits = Limits(shown.predicted_limit().value, shown.first_reach(), measured)
    return compare_losses(parent.loaded.name, windowed, other, train_len), limits

"""The capture itself: one pass of the model for each sequence, one unit on the disk for each layer.

``capture_checkpoint`` starts from a ``CaptureConfig``, ``capture_model`` from a model in memory; both
end in the same loop. A layer whose unit is on the disk is never measured again, so a run that was
killed goes on where it stopped.
"""

import time
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int

from ropediag.capture.check import attend_checked, check_blocks, check_tap
from ropediag.capture.estimate import Estimate, advise, estimate_capture
from ropediag.capture.layer import join_heads, measure_layer
from ropediag.capture.places import check_room
from ropediag.capture.plan import CapturePlan, header, make_plan
from ropediag.capture.report import Reporter
from ropediag.checkpoint import flags_of
from ropediag.config import CaptureConfig
from ropediag.models.blocks import needs_blocks
from ropediag.models.bridge import native_model
from ropediag.models.devices import input_device
from ropediag.models.economy import Economy, default_chunk, find_positionwise
from ropediag.models.inputs import bos_id, check_ids, read_inputs, read_training, take_ids
from ropediag.models.load import LoadedModel, check_finite, load_model
from ropediag.models.loss import decode, nll_by_position, nll_windowed
from ropediag.models.memory import explain_exhaustion
from ropediag.models.preflight import capture_file, check_capture_file, check_inputs
from ropediag.models.ranks import launched
from ropediag.models.record import describe_model
from ropediag.models.tap import AttentionCall, tap_attention
from ropediag.store import CaptureWriter
from ropediag.text import Leading, find_leading, hash_tokens


def capture_checkpoint(config: CaptureConfig, reporter: Reporter | None = None) -> Path:
    """Load a model and text, and capture.

    Parameters
    ----------
    config : what to do
    reporter : told about progress; None is silent

    Returns
    -------
    Path of the finished file

    Raises
    ------
    ConfigError, ModelError, CaptureError
        One clear line each; nothing is left under the final name.
    """
    check_inputs(config)
    loaded, ids = _load(config)
    return _capture(loaded, ids, config, capture_file(config), reporter or Reporter())


def estimate_checkpoint(config: CaptureConfig, reporter: Reporter | None = None) -> Estimate:
    """Say what ``capture_checkpoint`` would need, without writing anything.

    Raises
    ------
    ConfigError, ModelError, CaptureError
        As ``capture_checkpoint`` before its first pass.
    """
    check_inputs(config, writes=False)
    loaded, ids = _load(config)
    return _prepare(loaded, ids, config, reporter or Reporter(), True).estimate


def capture_model(
    model: Any,
    input_ids: Any,
    out: str | Path,
    *,
    attention_mask: Any | None = None,
    tokenizer: Any | None = None,
    name: str | None = None,
    reporter: Reporter | None = None,
    **options: Any,
) -> Path:
    """Capture a model that is already in memory.

    Parameters
    ----------
    model : a transformers decoder with a language-model head, or a TransformerBridge; left as it was
    input_ids : token ids, one row a sequence: an array, a tensor, lists, or what a tokenizer returned
    attention_mask : refused where it leaves tokens out, which would be counted as text
    out : the file to write, ``*.h5``
    tokenizer : for the text of the tokens, and to know leading special tokens: if all sequences begin with
        them, the windows of the windowed loss do too
    name : what to call the model in the file; its config's name or type if None
    options : fields of ``CaptureConfig``: rows, layers, heads, chunk, train_len, pretrain_base,
        keep_qk, bos, excess, store_tokens, seed, force, resume

    Returns
    -------
    Path of the finished file

    Raises
    ------
    ConfigError, ModelError, CaptureError
        As ``capture_checkpoint``.
    """
    ids = take_ids(input_ids, attention_mask)
    with native_model(model) as native:
        name = name or getattr(native.config, "name_or_path", "") or native.config.model_type
        config = CaptureConfig(model=name, length=ids.shape[1], sequences=len(ids), out=Path(out), **options)
        check_capture_file(Path(out), config.force, config.resume)
        check_finite(name, native)
        training = native.training
        native.eval()
        try:
            loaded = LoadedModel(native, tokenizer, Path(name).name, None)
            return _capture(loaded, ids, config, Path(out), reporter or Reporter())
        finally:
            native.train(training)


def _load(config: CaptureConfig) -> tuple[LoadedModel, np.ndarray]:
    """Read the tokens, then the weights."""
    tokenizer, ids = read_inputs(config)
    loaded = load_model(
        config.model,
        revision=config.revision,
        device=config.device,
        dtype=config.dtype,
        attention=config.attention,
        allow_pickle=config.allow_pickle,
        processes=launched(),
        tokenizer=tokenizer,
    )
    return loaded, ids


@dataclass(frozen=True, eq=False)
class _Prepared:
    """A capture that has passed all its checks."""

    input_ids: Int[torch.Tensor, "sequence position"]
    plan: CapturePlan
    window: int | None
    leading: Leading
    estimate: Estimate


def _prepare(
    loaded: LoadedModel, ids: np.ndarray, config: CaptureConfig, reporter: Reporter, timed: bool
) -> _Prepared:
    """Check model and tokens, plan, and say what the capture will need."""
    model = loaded.model
    if loaded.dtype_reason:
        reporter.note(loaded.dtype_reason)
    check_ids(ids, model)
    leading = find_leading(ids, loaded.tokenizer, config.bos, bos_id(model))
    if leading.note:
        reporter.note(leading.note)
    input_ids = torch.tensor(ids, device=input_device(model))
    check_tap(model, input_ids)
    history = read_training(loaded, flags_of(config))
    plan = make_plan(model, config, history)
    plan = replace(plan, economy=_plan_economy(model, input_ids, config.chunk))
    window = history.trained if config.excess else None
    estimate = estimate_capture(model, input_ids, plan, window, plan.ranks.tell(timed))
    reporter.starting(loaded.name, plan, estimate)
    return _Prepared(input_ids, plan, window, leading, estimate)


def _plan_economy(
    model: Any, input_ids: Int[torch.Tensor, "sequence position"], chunk: int | None
) -> Economy:
    """Decide what runs on some positions at a time: all that can, once the text is longer than that."""
    length = input_ids.shape[1]
    chunk = chunk or default_chunk(input_ids.device)
    parts = find_positionwise(model, input_ids[:1]) if length > chunk else ()
    return Economy(parts, chunk, needs_blocks(model, length) and check_blocks(model, input_ids))


def _capture(
    loaded: LoadedModel, ids: np.ndarray, config: CaptureConfig, path: Path, reporter: Reporter
) -> Path:
    """Prepare, measure, write."""
    begun = time.perf_counter()
    prepared = _prepare(loaded, ids, config, reporter, reporter.timed)
    plan = prepared.plan
    advice = partial(advise, loaded.model, plan, prepared.window)
    check_room(path, prepared.estimate, prepared.input_ids.device, advice)
    given = header(plan) | (_tokens(ids, loaded.tokenizer) if config.store_tokens else {})
    attributes = _attributes(loaded, config, prepared, ids)
    writer = _open(path, given, attributes, config) if plan.ranks.rank == 0 else None
    announced = prepared.estimate.memory
    doing = f"capturing {config.length:,} tokens, for which {announced / 2**30:.1f} GiB were announced"
    less = f"with a quarter less {advice(announced * 3 // 4)}; another --chunk may go on with --resume"
    with writer or nullcontext(), explain_exhaustion(doing, less):
        for sequence in range(plan.sequences):
            _capture_sequence(loaded.model, prepared, sequence, writer, reporter)
        if writer:
            reporter.writing(path)
            writer.finish({"seconds": time.perf_counter() - begun})
    return plan.ranks.tell(path)  # to the others once the file is there


def _open(
    path: Path, given: dict[str, np.ndarray], attributes: dict[str, str | int | float], config: CaptureConfig
) -> CaptureWriter:
    path.parent.mkdir(parents=True, exist_ok=True)
    if config.resume:
        return CaptureWriter.resume(path, given, attributes)
    return CaptureWriter.create(path, given, attributes, force=config.force)


def _missing(writer: CaptureWriter, plan: CapturePlan, sequence: int) -> set[int] | None:
    """Layers that are not on the disk; None if the sequence is done, its loss included."""
    layers = {layer for layer in plan.layers if not writer.has_layer(sequence, layer)}
    return layers if layers or not writer.has_loss(sequence) else None


def _capture_sequence(
    model: Any, prepared: _Prepared, sequence: int, writer: CaptureWriter | None, reporter: Reporter
) -> None:
    """One pass with the tap, then the loss from its hidden states, then the windowed loss.

    Of several processes the first alone has a writer, and hears the arrays of all.
    """
    plan, window, ids = prepared.plan, prepared.window, prepared.input_ids[sequence]
    missing = plan.ranks.tell(_missing(writer, plan, sequence) if writer else None)
    if missing is None:
        return

    def measure(call: AttentionCall):
        wanted = call.layer in missing
        arrays = measure_layer(call, sequence, plan) if wanted else {}  # before the output needs memory
        result = attend_checked(call)
        parts = plan.ranks.gather(arrays) if wanted else []
        if writer and wanted:
            writer.write_layer(sequence, call.layer, join_heads(parts))
        if call.layer in plan.layers:
            reporter.layer_done(sequence, call.layer)
        return result

    with plan.economy.applied(), tap_attention(model, measure):
        output = decode(model, ids[None])
    loss = {"loss/nll": nll_by_position(model, ids[None], output)[0]}
    del output
    if window is not None:
        with plan.economy.applied(), tap_attention(model, AttentionCall.attend):
            loss["loss/nll_windowed"] = nll_windowed(model, ids, window, leading=prepared.leading.count)
    if writer:
        writer.write_loss(sequence, loss)
    reporter.loss_done(sequence)


def _tokens(ids: np.ndarray, tokenizer: Any | None) -> dict[str, np.ndarray]:
    """The token ids, and the text of each that occurs if there is a tokenizer."""
    found: dict[str, np.ndarray] = {"tokens/input_ids": ids}
    if tokenizer is not None:
        occurring = np.unique(ids)
        pieces = [tokenizer.decode([int(token)]).replace("\0", "\\0") for token in occurring]
        found |= {"token": occurring, "tokens/piece": np.array(pieces, dtype=object)}
    return found


def _attributes(
    loaded: LoadedModel, config: CaptureConfig, prepared: _Prepared, ids: np.ndarray
) -> dict[str, str | int | float]:
    return {
        **describe_model(loaded, prepared.plan.history),
        "kind": "capture",
        "config": config.recipe(),
        "seed": config.seed,
        "length": config.length,
        "text_hash": hash_tokens(ids),
        "bos": prepared.leading.name,
        **({} if prepared.window is None else {"window_len": prepared.window}),
        "layout": prepared.plan.rotation.spec.layout,
    }

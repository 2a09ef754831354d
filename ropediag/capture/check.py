"""The capture's own checks of a model: does the tap see the truth, and all of it?

Before anything is measured a short prefix runs with and without the tap. In every pass after it, prefix or
full length, each call's mask is read and some rows of its attention are computed anew from the tapped
vectors: a bias, a selection of keys or a window that ropediag does not know of cannot pass unseen.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ropediag.errors import CaptureError, ModelError
from ropediag.models.blocks import LazyMask, attend_in_blocks, lazy_masks
from ropediag.models.finite import all_finite
from ropediag.models.inputs import run_plain
from ropediag.models.tap import AttentionCall, attention_modules, tap_attention
from ropediag.models.visible import visible_keys

PREFIX = 64
ROWS = 16  # queries whose masks are read
COMPUTED = 4  # of them, queries whose attention is computed anew
TOLERANCE = 0.01  # of the output's root mean square, beside the rounding of the logits


def attend_checked(call: AttentionCall) -> Any:
    """Do what the model would have done, and refuse what is not finite or not what ropediag takes it for.

    Raises
    ------
    CaptureError
        If the attention output holds NaN or infinity, naming the layer.
    ModelError
        If queries see other keys than a causal mask and the layer's window leave, or the output is not the
        softmax over scaled, capped products of query and key with the layer's sinks.
    """
    result = call.attend()
    check_output(call, result[0])
    return result


def check_vectors(call: AttentionCall) -> None:
    """Refuse queries and keys that are not finite, which attention may hide: a key of -inf weighs nothing.

    Raises
    ------
    CaptureError
        Naming the layer.
    """
    for name, tensor in (("queries", call.query), ("keys", call.key)):
        if not all_finite(tensor):
            raise CaptureError(
                f"layer {call.layer}: the {name} are not finite (NaN or infinity comes in here first)."
            )


def check_output(call: AttentionCall, output: Tensor) -> None:
    """Refuse what ``attend_checked`` refuses, of an output (batch, position, head, channel) that is there."""
    if not all_finite(output):
        raise CaptureError(f"layer {call.layer}: its attention output is the first that is NaN or infinite.")
    try:
        _check_call(call, output)
    except ModelError as error:
        config: Any = getattr(call.module, "config", None)
        name = config.model_type if config else type(call.module).__name__
        raise ModelError(f"{name}, layer {call.layer}, cannot be captured: {error}.") from error


def _check_call(call: AttentionCall, output: Tensor) -> None:
    """Hold some rows of one call against what the capture assumes of all."""
    length, keys = call.query.shape[2], call.key.shape[2]
    if keys != length:
        raise ModelError(
            f"it has {keys} keys for {length} queries, so its lags are not distances in the text"
        )
    if call.options.get("is_causal") is False or not getattr(call.module, "is_causal", True):
        raise ModelError("attention is not causal, so it sees negative lags")
    window = call.window or length
    chosen = {0, length - 1, length // 2, *range(length // ROWS, length, -(-length // (ROWS - 5)))}
    chosen |= {min(window - 1, length - 1), min(window, length - 1)}
    queries = torch.tensor(sorted(chosen), device=call.query.device)
    lag = queries[:, None] - torch.arange(length, device=queries.device)
    expected = (lag >= 0) & (lag < window)
    seen = visible_keys(call.mask, queries, length)
    if seen is not None and not bool((seen == expected).all()):
        row = int((seen != expected).any(-1).any(0).nonzero()[0])
        head = int((seen != expected)[:, row].any(-1).nonzero()[0])
        raise ModelError(
            f"the query at position {int(queries[row])} sees {int(seen[head, row].sum()):,} keys, where "
            f"causal attention{'' if window >= length else f' in a window of {window:,}'} sees "
            f"{int(expected[row].sum()):,}; ropediag knows no other rule than these two"
        )
    last = queries[-COMPUTED:]
    own = output[0, last].transpose(0, 1).double()
    mine, largest = attend_rows(call, last, expected[-COMPUTED:])
    if own.shape != mine.shape:
        raise ModelError(
            f"its output has the shape {tuple(output.shape)}, not (batch, position, head, channel)"
        )
    missed = float((own - mine).square().mean().sqrt() / own.square().mean().sqrt().clamp(min=1e-30))
    allowed = TOLERANCE + torch.finfo(output.dtype).eps * largest
    if missed > allowed:
        raise ModelError(
            f"its output is not what its queries, keys and values give: {missed:.0%} of it is something "
            "else, such as a bias on the logits or a selection of keys"
        )


def attend_rows(
    call: AttentionCall, queries: Int[Tensor, " row"], visible: Tensor
) -> tuple[Float[Tensor, "query_head row value_dim"], float]:
    """Compute the attention output of some queries of the first sequence as the capture understands it.

    Returns
    -------
    output, the largest visible logit before the soft cap
    """
    outputs: list[Tensor] = []
    largest = 0.0
    groups = call.query[0][:, queries].float().chunk(call.key.shape[1])
    values = call.value[0].repeat_interleave(call.key.shape[1] // call.value.shape[1], dim=0)
    sinks = None if call.sinks is None else call.sinks.detach().double().reshape(-1, 1, 1)
    for group, key, value in zip(groups, call.key[0], values, strict=True):  # one copy in float32 at a time
        logits = (group @ key.float().mT).double() * call.scaling
        largest = max(largest, float(logits.abs().masked_fill(~visible, 0).max()))
        if call.softcap is not None:
            logits = call.softcap * torch.tanh(logits / call.softcap)
        logits = logits.masked_fill(~visible, -torch.inf)
        if sinks is not None:
            mine = sinks[len(group) * len(outputs) :][: len(group)]
            logits = torch.cat([logits, mine.expand(-1, len(queries), 1)], dim=-1)
        outputs.append(logits.softmax(-1)[..., : len(value)].float() @ value.float())
    return torch.cat(outputs).double(), largest


def check_tap(model, input_ids: Int[Tensor, "sequence position"]) -> None:
    """Run a short prefix with and without the tap.

    Raises
    ------
    ModelError
        If the model cannot run, or a layer attends in a way ropediag does not know.
    CaptureError
        If the tap changes the logits, misses a layer or sees one twice, or a layer's output is NaN.
    """
    name = model.config.model_type
    _check_chunks(model, input_ids.shape[1])
    prefix = input_ids[:1, :PREFIX]
    calls: dict[int, list[tuple[Tensor, Tensor]]] = {}

    def count(call: AttentionCall):
        pairs = calls.setdefault(call.layer, [])
        if not any(call.query is query and call.key is key for query, key in pairs):
            pairs.append((call.query, call.key))  # several calls on the same vectors count once (DiffLlama)
            check_vectors(call)
        return attend_checked(call)

    with _listen(attention_modules(model)) as run:
        plain = run_plain(model, prefix)
    with torch.no_grad(), tap_attention(model, count):
        tapped = model(input_ids=prefix, use_cache=False).logits
    ran = list(run.values())
    for layer in sorted({*ran, *calls}):
        made = len(calls.get(layer, ()))
        if made != 1 or ran.count(layer) != 1:
            raise CaptureError(
                f"{name}, layer {layer}: {ran.count(layer)} attention modules made {made} calls in "
                "one pass, where one each is what ropediag can attribute. This model cannot be captured."
            )
    if not all_finite(plain):
        raise CaptureError(
            f"the logits of {name} are NaN or infinite, though every layer's attention is finite."
        )
    if not torch.equal(plain, tapped):
        largest = (plain - tapped).abs().max().item()
        raise CaptureError(
            f"the tap changes the logits of {name} (by up to {largest:.2g}), so it cannot be captured."
        )


def check_blocks(model: Any, input_ids: Int[Tensor, "sequence position"]) -> bool:
    """Tell whether the model attends to blocks of queries as it does to all of them, on a short prefix."""
    prefix = input_ids[:1, :PREFIX]

    def attend(call: AttentionCall) -> Any:
        if not isinstance(call.mask, LazyMask):
            raise ModelError("its mask is not made by transformers' mask functions")
        tensors = call.query, call.key, call.value
        few = call.query.shape[1] * prefix.shape[1] * (1 + prefix.shape[1] // 3)
        return attend_in_blocks(
            call.original, call.module, *tensors, call.mask, call.options, call.window, few
        )

    plain = run_plain(model, prefix)
    try:
        with torch.no_grad(), lazy_masks(skipping=False), tap_attention(model, attend):
            blocked = model(input_ids=prefix, use_cache=False).logits
    except (ModelError, AttributeError, TypeError, RuntimeError, IndexError):
        return False  # it does something else with its mask
    allowed = max(1e-4, 8 * torch.finfo(plain.dtype).eps) * float(plain.abs().max())
    return bool((blocked - plain).abs().max() <= allowed)


@contextmanager
def _listen(modules: dict[nn.Module, int]) -> Iterator[dict[nn.Module, int]]:
    """Collect those of the modules that run within the block; attention to images has none in a text."""
    run: dict[nn.Module, int] = {}

    def hear(module: nn.Module, _arguments: Any) -> None:
        run[module] = modules[module]

    hooks = [module.register_forward_pre_hook(hear) for module in modules]
    try:
        yield run
    finally:
        for hook in hooks:
            hook.remove()


def _check_chunks(model: Any, length: int) -> None:
    """Refuse a text longer than the chunk of a layer that sees no key of an earlier chunk (Llama 4)."""
    chunked = "chunked_attention" in (getattr(model.config.get_text_config(), "layer_types", None) or ())
    chunk = model.config.get_text_config().attention_chunk_size if chunked else None
    if chunk is not None and length > chunk:
        raise ModelError(
            f"{model.config.model_type} has layers that attend within chunks of {chunk:,} tokens: which lags "
            f"a query has there depends on its position, so {length:,} tokens cannot be summed up by lag. "
            f"Capture at most {chunk:,} tokens."
        )

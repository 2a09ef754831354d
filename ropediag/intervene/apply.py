"""The context manager: any loaded model, with chosen pairs doing something else inside the block.

    with intervene(model, Intervention("clip", pairs=range(11, 32), limit=127)):
        model(input_ids, use_cache=False)

The rotation is measured on the model first, so this needs no table of architectures, and what the queries
and keys are un-turned by is what the model turned them by.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from weakref import WeakSet

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn

from ropediag.errors import ModelError
from ropediag.intervene.intervention import LIMITED, Intervention
from ropediag.intervene.kinds import CARRY_OUT
from ropediag.intervene.selection import Target, find_targets
from ropediag.intervene.streaming import plain_logits, stream_heads
from ropediag.models.bridge import native_model
from ropediag.models.devices import input_device
from ropediag.models.inputs import run_plain
from ropediag.models.kind import vocabulary_size
from ropediag.models.rotation import Rotation, frequency_tables, measure_rotation
from ropediag.models.tap import AttentionCall, tap_attention

_LAST = 1000  # position up to which the rotation is measured if no length is given
PREFIX = 64  # tokens on which the streamed attention is compared with the model's own
_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 5e-2, torch.float16: 1e-2}  # of the largest output

_changed: WeakSet[nn.Module] = WeakSet()


@contextmanager
def intervene(
    model: Any, change: Intervention, *, length: int | None = None, rotation: Rotation | None = None
) -> Iterator[None]:
    """Carry out an intervention in every forward pass of ``model`` inside the block.

    Parameters
    ----------
    model : a transformers decoder that can be captured, to be run without a cache and without padding,
        positions rising by one; not inside another such block. Or a TransformerBridge, whose hook points are
        silent inside the block
    change : what to do
    length : tokens of the passes to come; needed where the model's frequencies depend on it
    rotation : of the model, measured before; measured anew if None

    Raises
    ------
    ConfigError
        If the model has no such layer, head or pair.
    ModelError
        If the model's attention or rotation is not understood, or limiting lags cannot be exact; inside the
        block, if a pass has a cache, other positions, or other frequencies than were measured.
    """
    with native_model(model) as native, _carried_out(native, change, length, rotation):
        yield


@contextmanager
def _carried_out(
    model: Any, change: Intervention, length: int | None, rotation: Rotation | None
) -> Iterator[None]:
    if model in _changed:
        raise ModelError("the model is already inside an intervention. Leave that block first.")
    if rotation is None:
        rotation = measure_rotation(model, np.array([_LAST if length is None else max(1, length - 1)]))
    targets = find_targets(change, rotation)
    if change.kind in LIMITED:
        check_attention(model, partial(_attend_plainly, targets))

    def handle(call: AttentionCall) -> Any:
        if call.layer not in targets:
            return call.attend()
        positions = read_positions(call)
        if change.kind != "log":
            check_frequencies(model, targets[call.layer])
        return CARRY_OUT[change.kind](call, targets[call.layer], change, positions)

    _changed.add(model)
    try:
        with tap_attention(model, handle):
            yield
    finally:
        _changed.discard(model)


def read_positions(call: AttentionCall) -> Int[Tensor, " position"]:
    """Give the positions of the tokens of a call, the same for queries and keys.

    Raises
    ------
    ModelError
        If there are more keys than queries (a cache), or positions do not rise by one.
    """
    length = call.query.shape[2]
    if call.key.shape[2] != length:
        raise ModelError(
            f"an intervention sees {length} queries and {call.key.shape[2]} keys: run the model without a "
            "cache (use_cache=False, and no generate)."
        )
    expected = torch.arange(length, device=call.query.device)
    given = call.options.get("position_ids")
    if given is None:
        return expected
    start = given.reshape(-1)[0]
    if given.shape[-1] != length or not bool((given == start + expected).all()):
        raise ModelError(
            "an intervention needs positions that rise by one, the same in each sequence: run the model "
            "without padding, packing or position ids of your own."
        )
    return start + expected


def check_frequencies(model: Any, target: Target) -> None:
    """Refuse a pass in which the model turns at other frequencies than were measured."""
    if not any(np.array_equal(table, target.inv_freq) for table, _ in frequency_tables(model)):
        raise ModelError(
            f"the frequencies of {model.config.model_type} depend on the length, and were measured at "
            "another one. Pass the length of the sequences to intervene(), one length at a time."
        )


def _attend_plainly(targets: dict[int, Target], call: AttentionCall) -> Any:
    """Attend in streams with the logits as they are; None where nothing is chosen."""
    if call.layer not in targets:
        return None
    return stream_heads(call, dict.fromkeys(targets[call.layer].pairs, plain_logits))


def check_attention(model: Any, attend: Callable[[AttentionCall], Any]) -> None:
    """Refuse a model whose own attention another one does not reproduce, layer by layer, on a short prefix.

    Parameters
    ----------
    model : a transformers decoder
    attend : the other attention, nothing limited; None for layers that do not matter

    Raises
    ------
    ModelError
    """
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(vocabulary_size(model), (1, PREFIX), generator=generator)

    def compare(call: AttentionCall) -> Any:
        own = call.attend()
        mine = attend(call)
        if mine is not None:
            difference = (mine[0] - own[0]).abs().max() / own[0].abs().max()
            if not difference <= _TOLERANCE.get(own[0].dtype, 1e-3):
                raise ModelError(
                    f"{model.config.model_type}, layer {call.layer}: the lag cannot be limited exactly, "
                    f"since its attention does more than ropediag knows (off by {float(difference):.1%}). "
                    "Use another kind of intervention."
                )
        return own

    with tap_attention(model, compare):
        run_plain(model, ids.to(input_device(model)))

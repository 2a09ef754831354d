"""How a pass over a long text is kept small: parts of the model run on some positions at a time.

Feed-forward blocks and norms treat each position by itself, so they may take a chunk of positions after the
other, and only attention sees the whole text. Which parts of a model do so is tried on a short prefix, not
read from their names. Unlike a prefill through a cache of keys and values this holds the keys of one layer
at a time, and every attention call stays the model's own, with its masks, windows and frequencies.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from ropediag.models.blocks import lazy_masks
from ropediag.models.tap import attention_modules, find_decoder

CHUNK = {"cpu": 4096, "cuda": 16384}  # positions at a time where nobody says
PREFIX = 64  # tokens on which the parts are tried


@dataclass(frozen=True, eq=False)
class Economy:
    """What one pass does on some positions at a time.

    Attributes
    ----------
    parts : modules that treat each position by itself
    chunk : positions they take at a time
    in_blocks : whether attention whose masks would be of length x length runs on blocks of queries
    """

    parts: tuple[nn.Module, ...] = ()
    chunk: int = 0
    in_blocks: bool = False

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Run the model that way within the block."""
        with ExitStack() as stack:
            if self.in_blocks:
                stack.enter_context(lazy_masks())
            for part in self.parts:
                stack.enter_context(_chunked(part, self.chunk))
            yield


WHOLE = Economy()


def default_chunk(device: torch.device) -> int:
    """Positions at a time on this kind of device: few enough for its caches, enough to keep it busy."""
    return CHUNK.get(device.type, CHUNK["cpu"])


def find_positionwise(model: Any, input_ids: Int[Tensor, "1 position"]) -> tuple[nn.Module, ...]:
    """List the parts of the decoder, outside attention, that treat each position by itself.

    Each is run on a short prefix at once and in two pieces: where the two differ, or it takes or gives
    anything but one tensor of (sequence, position, channel), it is left out. So is what lies on disk
    until it runs, and would be read anew for every chunk.

    Parameters
    ----------
    model : a transformers decoder
    input_ids : the text's token ids
    """
    seen: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def remember(part: nn.Module, given: tuple, options: dict, result: Any) -> None:
        tensors = (*given, result)
        if len(given) == 1 and not options and all(_has_positions(x) for x in tensors):
            seen[part] = given[0], result

    decoder, attention = find_decoder(model), attention_modules(model)
    hooks = [part.register_forward_hook(remember, with_kwargs=True) for part in decoder.modules()]
    try:
        with torch.no_grad():
            decoder(input_ids=input_ids[:, :PREFIX], use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()

    def search(part: nn.Module) -> Iterator[nn.Module]:
        """The largest such parts within one."""
        if part in attention:
            return
        if part in seen and _stays(part) and _is_positionwise(part, *seen[part]):
            yield part
        else:
            for child in part.children():
                yield from search(child)

    return tuple(dict.fromkeys(search(decoder)))


def _stays(part: nn.Module) -> bool:
    """Whether a module has weights, none of which lie on disk or another device until it runs."""
    hooks = (getattr(module, "_hf_hook", None) for module in part.modules())
    return any(True for _ in part.parameters()) and not any(getattr(hook, "offload", 0) for hook in hooks)


def _has_positions(x: Any) -> bool:
    return isinstance(x, Tensor) and x.ndim == 3 and x.is_floating_point()


def _is_positionwise(part: nn.Module, given: Tensor, result: Tensor) -> bool:
    if given.shape[:2] != result.shape[:2] or given.shape[1] < 2:
        return False
    cut = given.shape[1] // 3 or 1
    with torch.no_grad():
        pieces = [part(given[:, :cut]), part(given[:, cut:])]
    if not all(_has_positions(piece) for piece in pieces):
        return False
    apart = torch.cat(pieces, dim=1)
    allowed = max(1e-5, 8 * torch.finfo(result.dtype).eps) * float(result.abs().max())
    return apart.shape == result.shape and bool((apart - result).abs().max() <= allowed)


@contextmanager
def _chunked(part: nn.Module, chunk: int) -> Iterator[None]:
    """Let the module take ``chunk`` positions after the other within the block."""
    own = vars(part).get("forward")
    forward = part.forward

    def forward_in_chunks(x: Tensor) -> Tensor:
        pieces = x.split(chunk, dim=1)
        first = forward(pieces[0].contiguous())
        if len(pieces) == 1:
            return first
        whole = first.new_empty(*x.shape[:2], *first.shape[2:])
        whole[:, :chunk] = first
        for index, piece in enumerate(pieces[1:], 1):
            whole[:, index * chunk : index * chunk + piece.shape[1]] = forward(piece.contiguous())
        return whole

    part.forward = forward_in_chunks
    try:
        yield
    finally:
        if own is None:
            del part.forward
        else:
            part.forward = own

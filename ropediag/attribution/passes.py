"""One pass of a model forwards and backwards, its gates at one value.

No gate affects the tokens up to the smallest lag limit, the prefix. It is read without gates; a pass takes
its keys and values from there and runs the later tokens alone. That is exact if attention is the only way in
which tokens see each other, which is checked on a short text and on the first sequence. Otherwise each pass
runs all tokens.

The parameters need no gradient. A decoder layer keeps no more than what it was given where a pass over the
text would otherwise fill the memory (``torch.utils.checkpoint``), and is run again on the way back.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ropediag.attribution.far import GateGradient
from ropediag.attribution.gates import GatedLayer, Prefix, attend_gated
from ropediag.capture.check import check_blocks
from ropediag.errors import ModelError
from ropediag.intervene.apply import PREFIX, check_attention, check_frequencies, read_positions
from ropediag.intervene.selection import Target
from ropediag.models.blocks import LazyMask, lazy_masks, needs_blocks
from ropediag.models.devices import input_device
from ropediag.models.kind import vocabulary_size
from ropediag.models.loss import decode, nll_by_position, nll_gradient
from ropediag.models.memory import available_memory, feed_forward_bytes, held_values
from ropediag.models.tap import AttentionCall, attention_modules, find_decoder, tap_attention
from ropediag.models.visible import visible_keys

SAME = 1e-3  # of the largest output: two ways to read a text that differ by less are the same
NLL_TOLERANCE = {torch.bfloat16: 3e-2, torch.float16: 1e-2}  # nats, mean over tokens; 1e-3 for all others
MASK_ROWS = 32  # queries whose keys are looked at
SHARE = 4  # of the memory that is free, this part may hold what a pass keeps for the way back


@dataclass(frozen=True, eq=False)
class GatePass:
    """What one pass of one sequence gives.

    Attributes
    ----------
    loss : mean loss of each stretch of positions, nats
    gradients : of each stretch, layer -> gradient by its gates
    nll : (position,) loss, nats; None where it was not asked for
    """

    loss: Float[np.ndarray, " stretch"]
    gradients: list[dict[int, GateGradient]]
    nll: Float[np.ndarray, " position"] | None


@dataclass(frozen=True, eq=False)
class _ReadPrefix:
    """The prefix of a sequence: the tokens that no gate affects, read without gates.

    Attributes
    ----------
    ids : of the whole sequence
    length : tokens of the prefix
    layers : its keys and values, by attention layer
    output : of the decoder, for the whole sequence
    """

    ids: Tensor
    length: int
    layers: dict[int, Prefix]
    output: Any


class GatedModel:
    """A model whose gates can be set.

    Parameters
    ----------
    model : a transformers decoder, in eval mode
    targets : layer -> frequencies and channels
    layers : layer -> its gates; the others have none
    length : tokens of a pass
    start : position of the first token whose loss is taken, 1 or more

    Attributes
    ----------
    start : as given
    head_dim : channels of a head, of queries or values
    first : position of the first token that passes run; the prefix lies before it

    Raises
    ------
    ModelError
        If the attention of a layer does more than ropediag knows.
    """

    def __init__(
        self,
        model: Any,
        targets: Mapping[int, Target],
        layers: Mapping[int, GatedLayer],
        length: int,
        start: int,
    ) -> None:
        self.model, self._targets, self._layers, self._length = model, targets, layers, length
        self._gate, self._found = 1.0, dict[int, GateGradient]()
        self._anchor = torch.zeros((), device=input_device(model), requires_grad=True)
        self._prefix: _ReadPrefix | None = None
        self._reading: tuple[int, dict[int, Prefix]] | None = None
        self._verified, self.head_dim = False, 0
        self._lazy = needs_blocks(model, length) and check_blocks(model, self._some_ids()[None])
        check_attention(model, lambda call: self._attend(call) if call.layer in layers else None)
        self.start = start
        first = min(start - 1, *(layer.first_query for layer in layers.values()))
        self.first = first if first > 0 and self._splits() else 0
        kept = kept_bytes(model, length - self.first, self.head_dim)
        self._saves = kept > available_memory(input_device(model)) // SHARE

    def shorten(self, length: int) -> "GatedModel":
        """Build the same model for fewer tokens; its gates cover the same share of the lags."""
        layers = {number: layer.shorten(length) for number, layer in self._layers.items()}
        start = max(1, self.start * length // self._length)
        return GatedModel(self.model, self._targets, layers, length, start)

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Within the block the model attends with gates, and ``run`` may be called."""
        needing = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        with ExitStack() as stack:
            for parameter in needing:
                parameter.requires_grad_(False)
                stack.callback(parameter.requires_grad_, True)
            if self._lazy:
                stack.enter_context(lazy_masks())
            if self._saves:
                for part in decoder_layers(self.model):
                    stack.enter_context(_saving(part))
            stack.enter_context(tap_attention(self.model, self._handle))
            stack.callback(self._forget)
            yield

    def _forget(self) -> None:
        self._prefix = None

    def run(
        self,
        ids: Int[Tensor, " position"],
        gate: float,
        stretches: Sequence[range],
        *,
        whole: bool = False,
        sequence: int = 0,
    ) -> GatePass:
        """Run one sequence forwards, and backwards once for each stretch of positions.

        Parameters
        ----------
        ids : token ids, on the model's device
        gate : value of all gates
        stretches : positions of the tokens whose mean loss is taken
        whole : also give the loss at every position
        sequence : number of the sequence, for messages

        Raises
        ------
        CaptureError
            If the loss is NaN somewhere.
        ModelError
            If an attention call asks for something that is not honoured here.
        """
        self.read_prefix(ids)
        self._gate, self._found = gate, {}
        with torch.enable_grad():
            output = self._decode(ids)
        hidden, losses, gradients = output.last_hidden_state, [], []
        for number, positions in enumerate(stretches):
            loss, gradient = nll_gradient(self.model, ids, output, positions, sequence, self.first)
            self._found.clear()
            hidden.backward(gradient, retain_graph=number + 1 < len(stretches))
            losses.append(loss)
            gradients.append(dict(self._found))
        nll = self._nll(ids, output) if whole else None
        return GatePass(np.array(losses), gradients, nll)

    def read_prefix(self, ids: Int[Tensor, " position"]) -> None:
        """Read the prefix of a sequence without gates, unless it is known; call within ``ready``."""
        known = self._prefix
        if known is not None and torch.equal(known.ids, ids):
            return
        self._prefix = None
        if self.first:
            self._prefix = self._read(ids, self.first)
            if not self._verified:
                self._verify(ids)

    def _read(self, ids: Tensor, length: int) -> "_ReadPrefix":
        """Read a text without gates and keep the keys and values of its first tokens."""
        layers: dict[int, Prefix] = {}
        self._reading = length, layers
        try:
            output = decode(self.model, ids[None])
        finally:
            self._reading = None
        return _ReadPrefix(ids, length, layers, output)

    def _verify(self, ids: Tensor) -> None:
        """Do without the prefix if the later tokens alone, all gates at 1, have another loss."""
        prefix = self._prefix
        assert prefix is not None
        self._verified = True
        if all(_is_plain(layer.mask, len(ids)) for layer in prefix.layers.values()):
            self._gate = 1.0
            with torch.no_grad():
                late = self._nll(ids, self._decode(ids))
            own = nll_by_position(self.model, ids[None], prefix.output)[0]
            error = np.abs(late - own)[prefix.length + 1 :].mean()
            if error <= NLL_TOLERANCE.get(prefix.output.last_hidden_state.dtype, 1e-3):
                return
        self.first, self._prefix = 0, None

    def _decode(self, ids: Tensor) -> Any:
        """Run the decoder, on the tokens after the prefix alone where there is one."""
        decoder = find_decoder(self.model)
        if self._prefix is None:
            return decoder(input_ids=ids[None], use_cache=False)
        positions = torch.arange(self._prefix.length, len(ids), device=ids.device)
        return decoder(
            input_ids=ids[None, self._prefix.length :], position_ids=positions[None], use_cache=False
        )

    def _nll(self, ids: Tensor, output: Any) -> Float[np.ndarray, " position"]:
        """Compute the loss by position; that of the prefix is from when it was read."""
        if self._prefix is None:
            return nll_by_position(self.model, ids[None], output)[0]
        first = self._prefix.length
        nll = nll_by_position(self.model, ids[None, first:], output, first)[0]
        early = nll_by_position(self.model, ids[None, : first + 1], self._prefix.output)[0]
        return np.concatenate([early, nll[1:]])

    def _splits(self) -> bool:
        """Check that a short text gives the same read in two parts and in one."""
        ids = self._some_ids()
        try:
            with torch.no_grad(), tap_attention(self.model, self._attend_or_keep):
                whole = self._decode(ids).last_hidden_state
                self._prefix = self._read(ids, PREFIX // 2)
                late = self._decode(ids).last_hidden_state
        except torch.OutOfMemoryError:
            raise
        except (ModelError, RuntimeError, ValueError, IndexError, TypeError):
            return False
        finally:
            self._prefix = None
        return bool((late - whole[:, PREFIX // 2 :]).abs().max() <= SAME * whole.abs().max())

    def _some_ids(self) -> Int[Tensor, " position"]:
        """Make a short text for checks."""
        generator = torch.Generator().manual_seed(0)
        ids = torch.randint(vocabulary_size(self.model), (PREFIX,), generator=generator)
        return ids.to(input_device(self.model))

    def _attend_or_keep(self, call: AttentionCall) -> Any:
        if self._reading is None:
            return self._attend(call)
        length, layers = self._reading
        key, value = (part[:, :, :length].clone() for part in (call.key, call.value))
        layers[call.layer] = Prefix(key, value, call.mask)
        return call.attend()

    def _handle(self, call: AttentionCall) -> Any:
        """Keep the prefix while it is read; attend with gates afterwards."""
        if self._reading is not None:
            return self._attend_or_keep(call)
        if call.layer in self._layers:
            read_positions(call)
            check_frequencies(self.model, self._targets[call.layer])
        elif self._prefix is None:
            return call.attend()
        return self._attend(call)

    def _attend(self, call: AttentionCall) -> Any:
        self.head_dim = max(self.head_dim, call.query.shape[-1], call.value.shape[-1])
        prefix = None if self._prefix is None else self._prefix.layers[call.layer]
        layer = self._layers.get(call.layer)
        return attend_gated(call, layer, self._gate, self._anchor, self._gradient_of, prefix)

    def _gradient_of(self, layer: int, device: torch.device) -> GateGradient:
        """Return where the gradient of a layer is added up in the present backward pass."""
        if layer not in self._found:
            self._found[layer] = self._layers[layer].empty_gradient(device)
        return self._found[layer]


def _is_plain(mask: Any, length: int) -> bool:
    """Check that each query sees keys without a gap, so that the mask does not depend on the text."""
    if mask is None:
        return True
    lazy = isinstance(mask, LazyMask)
    device = mask.arguments.get("device", "cpu") if lazy else getattr(mask, "device", "cpu")
    rows = torch.linspace(length // 2, length - 1, MASK_ROWS, device=device).long()
    try:
        seen = visible_keys(mask, rows, length)
    except ModelError:
        return False
    if seen is None:
        return True
    starts = seen.int().diff(dim=-1).clamp(min=0).sum(-1) + seen[..., 0]
    return bool((starts <= 1).all())


def kept_bytes(model: Any, length: int, head_dim: int) -> int:
    """Estimate the bytes that a pass keeps for the way back if every layer keeps all it made."""
    return int(model.config.get_text_config().num_hidden_layers * layer_bytes(model, length, head_dim))


def layer_bytes(model: Any, length: int, head_dim: int) -> int:
    """Estimate the bytes that one layer keeps for the way back."""
    size = next(model.parameters()).element_size()
    return length * (2 * feed_forward_bytes(model, head_dim) + 4 * held_values(model, head_dim) * size)


def decoder_layers(model: Any) -> list[nn.Module]:
    """List the modules of a stack of layers that hold an attention module."""
    attention = attention_modules(model)
    return [
        child
        for parent in model.modules()
        if isinstance(parent, nn.ModuleList)
        for child in parent
        if any(part in attention for part in child.modules())
    ]


@contextmanager
def _saving(part: nn.Module) -> Iterator[None]:
    """Within the block the module keeps what it was given alone, and runs again on the way back."""
    own = part.forward
    held = "forward" in vars(part)
    part.forward = partial(checkpoint, own, use_reentrant=False, preserve_rng_state=False)
    try:
        yield
    finally:
        if held:
            part.forward = own
        else:
            del part.forward

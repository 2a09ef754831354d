"""One pass of a model forwards and backwards, its gates at one value.

No gate is at work on a token that comes before every limit. These tokens are read once, without gates;
a pass takes their keys and values from there and runs the other tokens alone, if the model lets tokens see
each other by attention and in no other way.

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

from ropediag.attribution.far import FarGradient
from ropediag.attribution.gates import Before, GatedLayer, attend_gated
from ropediag.intervene.apply import PREFIX, TOLERANCE, check_attention, check_frequencies, read_positions
from ropediag.intervene.selection import Target
from ropediag.models.blocks import lazy_masks, needs_blocks
from ropediag.models.devices import input_device
from ropediag.models.kind import vocabulary_size
from ropediag.models.loss import decode, nll_by_position, nll_gradient
from ropediag.models.memory import available_memory, feed_forward_bytes, held_values
from ropediag.models.tap import AttentionCall, attention_modules, find_decoder, tap_attention

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
    gradients: list[dict[int, FarGradient]]
    nll: Float[np.ndarray, " position"] | None


@dataclass(frozen=True, eq=False)
class _Beginning:
    """The tokens of a sequence that come before every limit, read without gates.

    Attributes
    ----------
    ids : of the whole sequence
    length : tokens of the beginning
    layers : what each attention layer made of them
    output : of the decoder, for the whole sequence
    """

    ids: Tensor
    length: int
    layers: dict[int, Before]
    output: Any


class GatedModel:
    """A model whose gates can be set.

    Parameters
    ----------
    model : a transformers decoder, in eval mode
    targets : layer -> frequencies and channels
    layers : layer -> its gates; the others have none
    length : tokens of a pass

    Raises
    ------
    ModelError
        If the attention of a layer does more than ropediag knows.
    """

    def __init__(
        self, model: Any, targets: Mapping[int, Target], layers: Mapping[int, GatedLayer], length: int
    ) -> None:
        self.model, self._targets, self._layers, self._length = model, targets, layers, length
        self._gate, self._found = 1.0, dict[int, FarGradient]()
        self._anchor = torch.zeros((), device=input_device(model), requires_grad=True)
        self._beginning: _Beginning | None = None
        check_attention(model, lambda call: self._attend(call) if call.layer in layers else None)
        self.first = min(layer.first_query for layer in layers.values()) if self._splits() else 0
        kept = kept_bytes(model, length - self.first)
        self._saves = kept > available_memory(input_device(model)) // SHARE

    def shorten(self, length: int) -> "GatedModel":
        """Build the same model for fewer tokens; its gates cover the same share of the lags."""
        layers = {number: layer.shorten(length) for number, layer in self._layers.items()}
        return GatedModel(self.model, self._targets, layers, length)

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Within the block the model attends with gates, and ``run`` may be called."""
        needing = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        with ExitStack() as stack:
            for parameter in needing:
                parameter.requires_grad_(False)
                stack.callback(parameter.requires_grad_, True)
            if needs_blocks(self.model, self._length):
                stack.enter_context(lazy_masks())
            if self._saves:
                for part in decoder_layers(self.model):
                    stack.enter_context(_saving(part))
            stack.enter_context(tap_attention(self.model, self._handle))
            yield

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
        first = min(self.first, stretches[0].start - 1)
        self._begin(ids, first)
        self._gate, self._found = gate, {}
        with torch.enable_grad():
            output = self._decode(ids)
        hidden, losses, gradients = output.last_hidden_state, [], []
        for number, positions in enumerate(stretches):
            loss, gradient = nll_gradient(self.model, ids, output, positions, sequence, first)
            self._found.clear()
            hidden.backward(gradient, retain_graph=number + 1 < len(stretches))
            losses.append(loss)
            gradients.append(dict(self._found))
        nll = self._nll(ids, output, first) if whole else None
        return GatePass(np.array(losses), gradients, nll)

    def _begin(self, ids: Tensor, length: int) -> None:
        """Read the first tokens of a sequence without gates, unless they are known."""
        known = self._beginning
        if known is not None and known.length == length and torch.equal(known.ids, ids):
            return
        self._beginning = None
        if length:
            layers: dict[int, Before] = {}

            def keep(call: AttentionCall) -> Any:
                key, value = (part[:, :, :length].clone() for part in (call.key, call.value))
                layers[call.layer] = Before(key, value, call.mask)
                return call.attend()

            with tap_attention(self.model, keep):
                output = decode(self.model, ids[None])
            self._beginning = _Beginning(ids, length, layers, output)

    def _decode(self, ids: Tensor) -> Any:
        """Run the decoder, on the tokens after the beginning alone where there is one."""
        decoder = find_decoder(self.model)
        if self._beginning is None:
            return decoder(input_ids=ids[None], use_cache=False)
        positions = torch.arange(self._beginning.length, len(ids), device=ids.device)
        return decoder(
            input_ids=ids[None, self._beginning.length :], position_ids=positions[None], use_cache=False
        )

    def _nll(self, ids: Tensor, output: Any, first: int) -> Float[np.ndarray, " position"]:
        """Loss by position; of the tokens before the first gate as they were read."""
        nll = nll_by_position(self.model, ids[None, first:], output, first)[0]
        if self._beginning is None:
            return nll
        early = nll_by_position(self.model, ids[None, : first + 1], self._beginning.output)[0]
        return np.concatenate([early, nll[1:]])

    def _splits(self) -> bool:
        """Whether the model gives the same when it reads a text in two parts, on a short text."""
        generator = torch.Generator().manual_seed(0)
        ids = torch.randint(vocabulary_size(self.model), (PREFIX,), generator=generator)
        ids = ids.to(input_device(self.model))
        whole = decode(self.model, ids[None]).last_hidden_state
        try:
            self._begin(ids, PREFIX // 2)
            with torch.no_grad(), tap_attention(self.model, self._attend):
                late = self._decode(ids).last_hidden_state
        except (RuntimeError, ValueError, IndexError, TypeError):
            return False
        finally:
            self._beginning = None
        error = (late - whole[:, PREFIX // 2 :]).abs().max() / whole.abs().max()
        return bool(error <= TOLERANCE.get(whole.dtype, 1e-3))

    def _handle(self, call: AttentionCall) -> Any:
        if call.layer in self._layers:
            read_positions(call)
            check_frequencies(self.model, self._targets[call.layer])
        elif self._beginning is None:
            return call.attend()
        return self._attend(call)

    def _attend(self, call: AttentionCall) -> Any:
        before = None if self._beginning is None else self._beginning.layers[call.layer]
        layer = self._layers.get(call.layer)
        return attend_gated(call, layer, self._gate, self._anchor, self._gradient_of, before)

    def _gradient_of(self, layer: int, device: torch.device) -> FarGradient:
        """Return where the gradient of a layer is added up in the present backward pass."""
        if layer not in self._found:
            self._found[layer] = self._layers[layer].empty_gradient(device)
        return self._found[layer]


def kept_bytes(model: Any, length: int) -> int:
    """Estimate the bytes that a pass keeps for the way back if every layer keeps all it made."""
    return int(model.config.get_text_config().num_hidden_layers * layer_bytes(model, length))


def layer_bytes(model: Any, length: int) -> int:
    """Estimate the bytes that one layer keeps for the way back."""
    size = next(model.parameters()).element_size()
    return length * (2 * feed_forward_bytes(model) + 4 * held_values(model) * size)


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

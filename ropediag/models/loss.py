"""Loss by position, with the full context and with at most the training length's.

The language-model head is applied to slices of positions, so logits of size length x vocabulary are
never in memory, and through the model's own forward, so logit scales and soft caps are its own.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ropediag.errors import CaptureError
from ropediag.models.kind import vocabulary_size
from ropediag.models.tap import find_decoder

LOGITS_AT_ONCE = {"cpu": 2**21, "cuda": 2**26}  # values of one slice of logits: 8 and 256 MiB in float32
TOKENS_AT_ONCE = 16384  # of the windows that one pass of the windowed loss takes


def decode(model: Any, input_ids: Int[Tensor, "sequence position"]) -> Any:
    """Run the decoder without its head, without a cache; the model's own output object."""
    with torch.no_grad():
        return find_decoder(model)(input_ids=input_ids, use_cache=False)


def nll_by_position(
    model: Any, input_ids: Int[Tensor, "sequence position"], output: Any
) -> Float[np.ndarray, "sequence position"]:
    """Negative log-likelihood of each token given all before it.

    Parameters
    ----------
    model : the language model
    input_ids : (sequence, position)
    output : what ``decode`` returned for them

    Returns
    -------
    (sequence, position) float32, nats; NaN at position 0, which nothing predicts

    Raises
    ------
    CaptureError
        If a logit is NaN.
    """
    sequences, length = input_ids.shape
    nll = np.full((sequences, length), np.nan, dtype=np.float32)
    values = LOGITS_AT_ONCE.get(input_ids.device.type, LOGITS_AT_ONCE["cpu"])
    step = max(1, values // (sequences * vocabulary_size(model)))
    with _head_only(model, output) as head:
        for start in range(0, length - 1, step):
            stop = min(start + step, length - 1)
            logits = head(slice(start, stop)).float()
            losses = nn.functional.cross_entropy(
                logits.flatten(0, 1), input_ids[:, start + 1 : stop + 1].flatten(), reduction="none"
            )
            if torch.isnan(losses).any():
                raise CaptureError(f"the model's logits are NaN between positions {start} and {stop}.")
            nll[:, start + 1 : stop + 1] = losses.view(sequences, -1).cpu().numpy()
    return nll


def nll_windowed(
    model: Any,
    input_ids: Int[Tensor, " position"],
    window: int,
    stride: int | None = None,
    tokens_at_once: int = TOKENS_AT_ONCE,
) -> Float[np.ndarray, " position"]:
    """Negative log-likelihood of each token given fewer than ``window`` tokens before it.

    Windows of ``window`` tokens, ``stride`` apart, half a window by default; each token's loss comes from
    the first window that holds it, so it is predicted from window - stride to window - 1 tokens, or from
    all there are.

    Returns
    -------
    (position,) float32, nats; NaN at position 0
    """
    length = len(input_ids)
    window = min(window, length)
    stride = max(1, min(stride or window // 2, window - 1))  # a window does not predict its first token
    starts = [*range(0, length - window, stride), length - window]
    nll = np.full(length, np.nan, dtype=np.float32)
    batch = max(1, tokens_at_once // window)
    filled = 0
    for first in range(0, len(starts), batch):
        chosen = starts[first : first + batch]
        ids = torch.stack([input_ids[start : start + window] for start in chosen])
        losses = nll_by_position(model, ids, decode(model, ids))
        for start, row in zip(chosen, losses, strict=True):
            nll[filled : start + window] = row[filled - start :]
            filled = start + window
    return nll


def rank_first(model: Any, output: Any, start: int) -> Int[np.ndarray, "sequence position"]:
    """Tell which token the model ranks first to come after each position from ``start`` on.

    Parameters
    ----------
    model : the language model
    output : what ``decode`` returned
    start : first position read; the logits of all from there on are in memory at once

    Returns
    -------
    (sequence, position) token ids; column i is the guess for position start + i + 1

    Raises
    ------
    CaptureError
        If a logit is NaN.
    """
    with _head_only(model, output) as head:
        logits = head(slice(start, None))
    if torch.isnan(logits).any():
        raise CaptureError(f"the model's logits are NaN from position {start} on.")
    return logits.argmax(dim=-1).cpu().numpy()


@contextmanager
def _head_only(model: Any, output: Any) -> Iterator[Any]:
    """Give a function from a slice of positions to logits, as the model's own forward computes them.

    The decoder under the head is replaced by one that returns the hidden states already computed.
    """
    decoder = find_decoder(model)
    hidden = output.last_hidden_state
    forward = decoder.forward

    def head(positions: slice) -> Tensor:
        decoder.forward = lambda *args, **options: type(output)(last_hidden_state=hidden[:, positions])
        with torch.no_grad():
            return model(input_ids=None, inputs_embeds=hidden[:, positions], use_cache=False).logits

    try:
        yield head
    finally:
        if "forward" in vars(decoder):
            del decoder.forward
        if decoder.forward != forward:
            decoder.forward = forward

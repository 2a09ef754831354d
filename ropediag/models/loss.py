"""Loss by position, with the full context and with at most the training length's.

The language-model head is applied to slices of positions, so logits of size length x vocabulary are
never in memory, and through the model's own forward, so logit scales and soft caps are its own. A slice has
``head_rows`` positions: every call reads all weights of the head, which takes longer than multiplying
them where the vocabulary is large and the positions are few.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ropediag.errors import CaptureError, ConfigError
from ropediag.models.kind import vocabulary_size
from ropediag.models.memory import LOSS_VALUES, head_rows
from ropediag.models.tap import find_decoder

TOKENS_AT_ONCE = 16384  # of the windows that one pass of the windowed loss takes


def decode(model: Any, input_ids: Int[Tensor, "sequence position"]) -> Any:
    """Run the decoder without its head, without a cache; the model's own output object."""
    with torch.no_grad():
        return find_decoder(model)(input_ids=input_ids, use_cache=False)


def nll_by_position(
    model: Any, input_ids: Int[Tensor, "sequence position"], output: Any, first: int = 0
) -> Float[np.ndarray, "sequence position"]:
    """Negative log-likelihood of each token given all before it.

    Parameters
    ----------
    model : the language model
    input_ids : (sequence, position)
    output : what ``decode`` returned for them, and maybe for tokens after them
    first : position of the first token, for messages

    Returns
    -------
    (sequence, position) float32, nats; NaN at the first position, which nothing predicts

    Raises
    ------
    CaptureError
        If a logit is NaN.
    """
    sequences, length = input_ids.shape
    nll = np.full((sequences, length), np.nan, dtype=np.float32)
    followed = input_ids[:, 1:].flatten()
    losses = torch.empty(len(followed), device=input_ids.device)
    values = LOSS_VALUES.get(input_ids.device.type, LOSS_VALUES["cpu"])
    pieces = max(1, values // vocabulary_size(model))  # positions at once
    for start, logits in _iterate_logits(model, output, slice(0, length - 1)):
        for row in range(0, len(logits), pieces):
            piece = slice(start + row, start + min(row + pieces, len(logits)))
            losses[piece] = nn.functional.cross_entropy(
                logits[row : row + pieces].float(), followed[piece].to(logits.device), reduction="none"
            )
        del logits  # before the next ones are computed
    nll[:, 1:] = losses.view(sequences, -1).cpu().numpy()
    _check_nan(np.isnan(nll[:, 1:]), first)
    return nll


def nll_gradient(
    model: Any,
    input_ids: Int[Tensor, " position"],
    output: Any,
    positions: range,
    sequence: int = 0,
    first: int = 0,
) -> tuple[float, Float[Tensor, "1 state channel"]]:
    """Mean loss over positions of one sequence, and its gradient by the decoder's last hidden states.

    Parameters
    ----------
    model : the language model, whose parameters need no gradient
    input_ids : token ids
    output : what the decoder returned for those from ``first`` on
    positions : of the tokens predicted, from first + 1 on
    sequence : its number, for messages
    first : position of the first hidden state

    Returns
    -------
    nats, and the gradient, zero where a hidden state predicts none of these tokens

    Raises
    ------
    CaptureError
        If the loss is NaN somewhere.
    """
    hidden = output.last_hidden_state
    gradient, total = torch.zeros_like(hidden), 0.0
    vocabulary, device = vocabulary_size(model), hidden.device.type
    values = LOSS_VALUES.get(device, LOSS_VALUES["cpu"])
    step = max(1, min(head_rows(vocabulary, device), values // vocabulary))
    with torch.enable_grad(), _head_only(model, output) as head:
        for start in range(positions.start, positions.stop, step):
            stop = min(start + step, positions.stop)
            places = slice(start - 1 - first, stop - 1 - first)
            rows = hidden[0, places].detach().requires_grad_()
            logits = head(rows)
            wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
            nll = nn.functional.cross_entropy(wide, input_ids[start:stop].to(logits.device), reduction="none")
            _check_nan(torch.isnan(nll)[None].cpu().numpy(), start, sequence)
            mean = nll.sum() / len(positions)
            total += mean.item()
            gradient[0, places] = torch.autograd.grad(mean, rows)[0]
    return total, gradient


def nll_windowed(
    model: Any,
    input_ids: Int[Tensor, " position"],
    window: int,
    stride: int | None = None,
    tokens_at_once: int = TOKENS_AT_ONCE,
    leading: int = 0,
) -> Float[np.ndarray, " position"]:
    """Negative log-likelihood of each token given fewer than ``window`` tokens before it.

    Windows of ``window`` tokens, ``stride`` apart, half a window by default; each token's loss comes from
    the first window that holds it, so it is predicted from window - stride to window - 1 tokens, or from
    all there are.

    A text that begins with ``leading`` special tokens begins so in every window: they are repeated before
    the window's part of the text and count among its tokens. The model then reads each window as it would
    read a text of its own, and a loss has the same number of tokens before it as without them.

    Returns
    -------
    (position,) float32, nats; NaN at position 0. Position t is the same token as in ``nll_by_position``.

    Raises
    ------
    ConfigError
        If a window has no room for text beyond the leading tokens.
    """
    length = len(input_ids)
    window = min(window, length)
    part = window - leading  # of the text
    if part < 1:
        raise ConfigError(f"a window of {window} tokens has no room beyond {leading} leading special tokens.")
    stride = max(1, min(stride or window // 2, window - 1, part))  # nothing predicts a window's first token
    starts = [*range(leading, length - part, stride), length - part]
    nll = np.full(length, np.nan, dtype=np.float32)
    batch = max(1, tokens_at_once // window)
    filled = 0
    for first in range(0, len(starts), batch):
        chosen = starts[first : first + batch]
        begin = input_ids[:leading]
        ids = torch.stack([torch.cat([begin, input_ids[start : start + part]]) for start in chosen])
        losses = nll_by_position(model, ids, decode(model, ids))
        for start, row in zip(chosen, losses, strict=True):
            nll[filled : start + part] = row[filled - start + leading :]
            filled = start + part
    return nll


def rank_first(model: Any, output: Any, start: int) -> Int[np.ndarray, "sequence position"]:
    """Return which token the model ranks first to come after each position from ``start`` on.

    Parameters
    ----------
    model : the language model
    output : what ``decode`` returned
    start : first position read

    Returns
    -------
    (sequence, position) token ids; column i is the guess for position start + i + 1

    Raises
    ------
    CaptureError
        If a logit is NaN.
    """
    best, bad = [], []
    for _, logits in _iterate_logits(model, output, slice(start, None)):
        best.append(logits.argmax(dim=-1))
        bad.append(torch.isnan(logits).any(dim=-1))
        del logits
    sequences = len(output.last_hidden_state)
    _check_nan(torch.cat(bad).view(sequences, -1).cpu().numpy(), start)
    return torch.cat(best).view(sequences, -1).cpu().numpy()


def _check_nan(bad: np.ndarray, start: int, first: int = 0) -> None:
    """Refuse logits that are NaN; ``bad`` is (sequence, position), from ``first`` and ``start`` on."""
    if bad.any():
        sequence, position = np.argwhere(bad)[0]
        raise CaptureError(
            f"the model's logits are NaN at position {start + position} of sequence {first + sequence}."
        )


def _iterate_logits(model: Any, output: Any, positions: slice) -> Iterator[tuple[int, Tensor]]:
    """Iterate over the logits of chosen positions, ``head_rows`` of all sequences at a time.

    Yields
    ------
    start : index of the first row, sequences one after the other
    logits : (row, vocabulary), in the model's own type
    """
    hidden = output.last_hidden_state[:, positions].flatten(0, 1)
    step = head_rows(vocabulary_size(model), hidden.device.type)
    with _head_only(model, output) as head:
        for start in range(0, len(hidden), step):
            with torch.no_grad():
                logits = head(hidden[start : start + step])
            yield start, logits


@contextmanager
def _head_only(model: Any, output: Any) -> Iterator[Any]:
    """Make a function from (row, channel) hidden states to logits, as the model's own forward computes them.

    The decoder under the head is replaced by one that returns the hidden states already computed.
    """
    decoder = find_decoder(model)
    forward = decoder.forward

    def head(rows: Tensor) -> Tensor:
        decoder.forward = lambda *args, **options: type(output)(last_hidden_state=rows[None])
        return model(input_ids=None, inputs_embeds=rows[None], use_cache=False).logits[0]

    try:
        yield head
    finally:
        if "forward" in vars(decoder):
            del decoder.forward
        if decoder.forward != forward:
            decoder.forward = forward

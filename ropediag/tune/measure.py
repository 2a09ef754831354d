"""What a trained model can do: its loss with at most a window of context, and its recall.

Both run the model over (window, position) ids in slices of windows, in the model's own dtype, and both
come with an interval over what was sampled. Loss beyond the training length is left to ``evaluate``.
"""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
import torch
from transformers import PreTrainedModel

from ropediag.assets import held_out_text
from ropediag.text import read_token_sequences
from ropediag.tune.recall import RecallWindows, make_recall_windows
from ropediag.tune.tokenizer import byte_tokenizer

_WINDOWS_A_PASS = 64
_MEASURED_WINDOWS = 512
_MEASURE_SEED = 1_000_003  # far from the seeds of training, so that no recall window repeats
_Z = 1.959964  # 95 % of a normal distribution lie within this many standard deviations


@dataclass(frozen=True)
class Estimate:
    """A sampled figure: its value, its 95 % interval and how many independent samples it rests on."""

    value: float
    low: float
    high: float
    count: int


def measure_inside(model: PreTrainedModel, length: int) -> dict[str, dict]:
    """Measure a byte-level model on the bundled held-out text, in windows of ``length`` tokens.

    Returns
    -------
    dict of the ``Estimate`` fields of ``held_out_nats_per_token``, ``held_out_bits_per_byte``, ``recall``
    """
    held_out = read_token_sequences(None, byte_tokenizer(), length, _MEASURED_WINDOWS, _MEASURE_SEED)
    filler = np.frombuffer(held_out_text().read_bytes(), dtype=np.uint8)
    recall = make_recall_windows(filler, length, _MEASURED_WINDOWS, _MEASURE_SEED)
    nats = asdict(measure_loss(model, held_out))
    bits = {name: value if name == "count" else value / math.log(2) for name, value in nats.items()}
    return {
        "held_out_nats_per_token": nats,
        "held_out_bits_per_byte": bits,
        "recall": asdict(measure_recall(model, recall)),
    }


def measure_loss(model: PreTrainedModel, ids: np.ndarray) -> Estimate:
    """Measure the mean loss where at least half a window of context is in sight.

    Parameters
    ----------
    model : a causal language model
    ids : (window, position) integer array
        Windows of the training length. Tokens in the second half of each are scored, as in windowed
        loss with a stride of half the window.

    Returns
    -------
    Estimate, nats per token
        The interval is that of the mean over windows; count is windows.
    """
    scored = slice(ids.shape[1] // 2, None)
    losses = [
        torch.nn.functional.cross_entropy(logits[:, :-1].mT, tokens[:, 1:], reduction="none")
        for tokens, logits in _logits(model, ids)
    ]
    means = torch.cat(losses)[:, scored.start - 1 :].mean(dim=1, dtype=torch.float64).cpu().numpy()
    return mean_interval(means)


def measure_recall(model: PreTrainedModel, windows: RecallWindows) -> Estimate:
    """Measure the share of answers that the model ranks first, given all that precedes them.

    Returns
    -------
    Estimate, a share from 0 to 1
        With Wilson's interval; count is answers.
    """
    return share_interval(int(recall_hits(model, windows)[windows.answers].sum()), int(windows.answers.sum()))


def recall_hits(model: PreTrainedModel, windows: RecallWindows) -> np.ndarray:
    """Tell, for each token, whether it is an answer that the model ranks first.

    Returns
    -------
    (window, position) boolean array
        With ``windows.lag`` it gives recall by distance.
    """
    hits = np.zeros(windows.ids.shape, dtype=bool)
    best = [logits[:, :-1].argmax(dim=-1).cpu().numpy() for _, logits in _logits(model, windows.ids)]
    hits[:, 1:] = np.concatenate(best) == windows.ids[:, 1:]
    return hits & windows.answers


def mean_interval(values: np.ndarray) -> Estimate:
    """Give the mean of independent values, float64, its 95 % interval; unbounded with a single one."""
    error = _Z * values.std(ddof=1) / math.sqrt(values.size) if values.size > 1 else math.inf
    return Estimate(
        values.mean().item(), float(values.mean() - error), float(values.mean() + error), values.size
    )


def share_interval(hits: int, count: int) -> Estimate:
    """Give a share its 95 % interval by Wilson's score method, sound near 0 and 1 too."""
    share = hits / count
    centre = (share + _Z**2 / (2 * count)) / (1 + _Z**2 / count)
    half = _Z / (1 + _Z**2 / count) * math.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2))
    return Estimate(share, max(0.0, centre - half), min(1.0, centre + half), count)


def _logits(model: PreTrainedModel, ids: np.ndarray) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield tokens (window, position) and logits (window, position, vocabulary), a slice at a time."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            for start in range(0, len(ids), _WINDOWS_A_PASS):
                tokens = torch.from_numpy(ids[start : start + _WINDOWS_A_PASS]).to(model.device)
                yield tokens, model(input_ids=tokens, use_cache=False).logits.float()
    finally:
        model.train(training)

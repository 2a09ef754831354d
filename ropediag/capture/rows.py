"""Sampled queries against all their keys: extremes and quantiles of contributions, softmax, mass by lag.

What has no fast exact sum over all query-key pairs is measured on some queries: for each of them every
key it sees is visited, except for quantiles, which take evenly spaced keys of each lag bin.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ropediag.capture.scratch import scratch_bytes

LEVELS = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
KEYS_PER_BIN = 16  # keys of one query and lag bin that enter the quantiles


@dataclass(frozen=True)
class Softmax:
    """How one layer turns logits into weights.

    Attributes
    ----------
    window : lags 0 .. window - 1 are visible; None for all
    softcap : logits become softcap * tanh(logit / softcap); None for no cap
    sinks : (query_head,) logits that join the denominator; None for none
    """

    window: int | None
    softcap: float | None
    sinks: Float[Tensor, " query_head"] | None


def choose_rows(length: int, count: int, generator: np.random.Generator) -> Int[np.ndarray, " row"]:
    """Choose query positions: half evenly spaced by ratio, half one at random from each equal stretch.

    The last position is always among them; positions are sorted and distinct, so short sequences
    give fewer than ``count``.
    """
    by_ratio = np.geomspace(1, length, count // 2 + 1).astype(int)[:-1]
    stretches = np.linspace(0, length, count - len(by_ratio) + 1).astype(int)
    spread = [generator.integers(a, b) for a, b in pairwise(stretches) if b > a]
    return np.unique(np.clip(np.concatenate([by_ratio, spread, [length - 1]]), 0, length - 1))[-count:]


def measure_rows(
    query: Float[Tensor, "query_head position head_dim"],
    key: Float[Tensor, "kv_head position head_dim"],
    positions: Int[np.ndarray, " row"],
    softmax: Softmax,
    edges: list[int],
) -> dict[str, Float[np.ndarray, "query_head row ..."]]:
    """Softmax statistics of the sampled queries.

    Parameters
    ----------
    query : rotated queries times the logit scaling; as many heads in a row share a key head
    key : rotated keys
    positions : the sampled queries
    softmax : the layer's
    edges : lower edges of the lag bins

    Returns
    -------
    dict of (query_head, row) arrays, ``mass`` (query_head, row, lag)
    """
    results: dict[str, list[Tensor]] = {}
    grouped, key = query.unflatten(0, (len(key), -1)), key.float()
    for t in positions.tolist():
        oldest = max(0, t + 1 - (softmax.window or t + 1))
        logits = (grouped[:, :, t].float() @ key[:, oldest : t + 1].mT).flatten(0, 1)
        for name, values in _summarize_row(logits, oldest, softmax, edges).items():
            results.setdefault(name, []).append(values)
    return {name: torch.stack(values, dim=1).float().cpu().numpy() for name, values in results.items()}


def _summarize_row(
    logits: Float[Tensor, "query_head key"], oldest: int, softmax: Softmax, edges: list[int]
) -> dict[str, Tensor]:
    """Softmax statistics of one query position; its keys stand at positions ``oldest`` .. its own."""
    if softmax.softcap is not None:
        logits = softmax.softcap * torch.tanh(logits / softmax.softcap)
    denominator = torch.logsumexp(logits, -1)
    if softmax.sinks is not None:
        denominator = torch.logaddexp(denominator, softmax.sinks.float())
    log_weights = logits - denominator[:, None]
    weights = log_weights.exp()
    # Lags a .. b - 1 are the keys from b - 1 to a before the last one, so bins come from sums from the end.
    running = torch.nn.functional.pad(weights.flip(-1).cumsum(-1, dtype=torch.float64), (1, 0))
    keys = logits.shape[-1]
    bounds = torch.tensor([*edges, keys], device=logits.device).clamp(max=keys)
    return {
        "logsumexp": denominator,
        "entropy": -(weights * log_weights).sum(-1),
        "max_weight": weights.amax(-1),
        "sink_mass": weights[:, 0] if oldest == 0 else torch.zeros_like(denominator),
        "mass": running[:, bounds].diff(dim=-1),
    }


def measure_contributions(
    query: Float[Tensor, "query_head position head_dim"],
    key: Float[Tensor, "kv_head position head_dim"],
    channels: Int[np.ndarray, "pair 2"],
    positions: Int[np.ndarray, " row"],
    edges: list[int],
    lags: int,
) -> dict[str, Float[np.ndarray, "query_head pair coarse_lag ..."]]:
    """Extremes and quantiles of every pair's contribution to the logits of the sampled queries.

    Returns
    -------
    dict : ``minimum`` and ``maximum`` (query_head, pair, bin), ``quantile`` (query_head, pair, bin,
    level); NaN where no sampled query reaches the bin
    """
    kv_heads, pairs, bins = len(key), len(channels), len(edges)
    shape = (kv_heads, len(query) // kv_heads, pairs, bins)
    low, high = (torch.full(shape, torch.nan, device=key.device) for _ in range(2))
    quantile = torch.full((*shape, len(LEVELS)), torch.nan, device=key.device)
    paired = torch.tensor(channels.T, device=key.device)
    rows = torch.as_tensor(positions, device=key.device)
    vectors = query.unflatten(0, shape[:2])[:, :, rows].float()[..., paired]
    for shared, heads in _heads_at_once(*shape[:2], 4 * pairs * key.shape[1], key.device):
        keys = key[shared].float().mT[:, paired]
        minima, maxima, samples = _contributions_by_bin(vectors[shared, heads], keys, positions, edges, lags)
        for bin_, values in samples.items():
            low[shared, heads, :, bin_] = torch.stack(minima[bin_]).amin(0)
            high[shared, heads, :, bin_] = torch.stack(maxima[bin_]).amax(0)
            quantile[shared, heads, :, bin_] = _take_quantiles(torch.cat(values, dim=-1))
    found = {"minimum": low, "maximum": high, "quantile": quantile}
    return {name: values.flatten(0, 1).cpu().numpy() for name, values in found.items()}


def _heads_at_once(
    kv_heads: int, group: int, size: int, device: torch.device
) -> Iterator[tuple[slice, slice]]:
    """Cut heads into parts whose arrays, ``size`` bytes a query head, fit into the scratch memory."""
    many = max(1, scratch_bytes(device) // max(1, 12 * size))
    shared, heads = max(1, many // group), min(many, group)
    for first in range(0, kv_heads, shared):
        for start in range(0, group, heads):
            yield slice(first, first + shared), slice(start, start + heads)


def _take_quantiles(values: Float[Tensor, "... sample"]) -> Float[Tensor, "... level"]:
    """Quantiles at LEVELS, linear between samples as numpy's."""
    if values.device.type == "cpu":
        ordered = torch.from_numpy(np.sort(values.numpy(), axis=-1))  # a multiple faster than torch's
    else:
        ordered = values.sort(-1).values
    at = torch.tensor(LEVELS, dtype=torch.float64, device=values.device) * (values.shape[-1] - 1)
    below = at.long()
    above = (below + 1).clamp(max=values.shape[-1] - 1)
    return torch.lerp(ordered[..., below], ordered[..., above], (at - below).to(values.dtype))


def _contributions_by_bin(
    vectors: Float[Tensor, "kv_head group row 2 pair"],
    keys: Float[Tensor, "kv_head 2 pair position"],
    positions: Int[np.ndarray, " row"],
    edges: list[int],
    lags: int,
) -> tuple[dict[int, list[Tensor]], dict[int, list[Tensor]], dict[int, list[Tensor]]]:
    """Minima, maxima and sampled values of each lag bin, one entry for each query that reaches it."""
    minima: dict[int, list[Tensor]] = {}
    maxima: dict[int, list[Tensor]] = {}
    samples: dict[int, list[Tensor]] = {}
    first, second = keys[:, None].unbind(2)
    buffer = keys.new_empty(*vectors.shape[:2], *keys.shape[2:])
    for row, t in enumerate(positions.tolist()):
        oldest = max(0, t - lags + 1)
        values = buffer[..., : t + 1 - oldest]
        a, b = vectors[:, :, row, :, :, None].unbind(2)
        torch.mul(a, first[..., oldest : t + 1], out=values).addcmul_(b, second[..., oldest : t + 1])
        for bin_, (start, stop) in enumerate(zip(edges, [*edges[1:], lags], strict=True)):
            if start > t - oldest:
                break
            part = values[..., max(0, t - stop + 1 - oldest) : t - start + 1 - oldest]
            minima.setdefault(bin_, []).append(part.amin(-1))
            maxima.setdefault(bin_, []).append(part.amax(-1))
            step = max(1, part.shape[-1] // KEYS_PER_BIN)
            samples.setdefault(bin_, []).append(part[..., ::step].clone())
    return minima, maxima, samples

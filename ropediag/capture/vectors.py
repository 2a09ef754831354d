"""Queries and keys pair by pair: lengths by position, the mean vector before rotation, samples."""

from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

POSITIONS_AT_ONCE = 4096

Table = Float[Tensor, "position pair"]


def unrotate(
    x: Float[Tensor, "head position head_dim"],
    positions: Int[Tensor, " position"],
    inv_freq: Float[np.ndarray, " pair"],
    channels: Int[np.ndarray, "pair 2"],
    attention_factor: float,
) -> Float[Tensor, "head position head_dim"]:
    """Undo the rotation: the vector as it left the projection (and norm), in float32.

    Angles are computed in float64 from the model's own frequencies.
    """
    cos, sin = _tables(positions, inv_freq)
    first, second = torch.tensor(channels, device=x.device).unbind(-1)
    still = x.float().clone()
    a, b = still[..., first], still[..., second]
    still[..., first] = (a * cos + b * sin) / attention_factor
    still[..., second] = (b * cos - a * sin) / attention_factor
    return still


def measure_vectors(
    x: Float[Tensor, "head position head_dim"],
    inv_freq: Float[np.ndarray, " pair"],
    channels: Int[np.ndarray, "pair 2"],
    edges: list[int],
) -> dict[str, Float[np.ndarray, "head pair *bin"]]:
    """Lengths of the pairs by position, and the mean vector before rotation.

    Parameters
    ----------
    x : rotated queries or keys
    edges : lower edges of the position bins

    Returns
    -------
    dict : ``norm`` (head, pair, bin), the root mean square length in each bin; ``offset`` (head, pair),
    the length of the mean pre-rotary vector over the root mean square length, 0 for a pair whose
    vectors are all 0; ``phase`` (head, pair), its direction in radians
    """
    heads, length, _ = x.shape
    pairs = len(channels)
    first, second = torch.tensor(channels, device=x.device).unbind(-1)
    square = torch.zeros(heads, pairs, len(edges), dtype=torch.float64, device=x.device)
    mean = torch.zeros(2, heads, pairs, dtype=torch.float64, device=x.device)
    for bin_, (start, stop) in enumerate(pairwise([*edges, length])):
        for low in range(start, stop, POSITIONS_AT_ONCE):
            part = slice(low, min(low + POSITIONS_AT_ONCE, stop))
            a, b = x[:, part, first].float(), x[:, part, second].float()
            cos, sin = _tables(torch.arange(part.start, part.stop, device=x.device), inv_freq)
            square[..., bin_] += (a * a + b * b).sum(1, dtype=torch.float64)
            mean[0] += (a * cos + b * sin).sum(1, dtype=torch.float64)
            mean[1] += (b * cos - a * sin).sum(1, dtype=torch.float64)
    counts = np.diff([*edges, length])
    squares = square.cpu().numpy()
    east, north = mean.cpu().numpy() / length
    typical = np.sqrt(squares.sum(-1) / length)
    return {
        "norm": np.sqrt(squares / counts).astype(np.float32),
        "offset": (np.hypot(east, north) / np.where(typical > 0, typical, 1.0)).astype(np.float32),
        "phase": np.arctan2(north, east).astype(np.float32),
    }


def _tables(positions: Int[Tensor, " position"], inv_freq: Float[np.ndarray, " pair"]) -> tuple[Table, Table]:
    """Cosine and sine of position times inv_freq: angles in float64, tables in float32."""
    angle = positions.double()[:, None] * torch.tensor(inv_freq, device=positions.device)
    angle = angle.remainder(2 * torch.pi).float()
    return angle.cos(), angle.sin()

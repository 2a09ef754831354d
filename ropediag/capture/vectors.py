"""Queries and keys pair by pair: lengths by position, the mean vector before rotation, samples."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

POSITIONS_AT_ONCE = 8192


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
    angle = positions.double()[:, None] * torch.tensor(inv_freq, device=x.device)
    cos, sin = (angle.cos() / attention_factor).float(), (angle.sin() / attention_factor).float()
    first, second = torch.tensor(channels, device=x.device).unbind(-1)
    still = x.float().clone()
    a, b = still[..., first], still[..., second]
    still[..., first] = a * cos + b * sin
    still[..., second] = b * cos - a * sin
    return still


def measure_vectors(
    x: Float[Tensor, "head position head_dim"],
    inv_freq: Float[np.ndarray, " pair"],
    channels: Int[np.ndarray, "pair 2"],
    edges: list[int],
) -> dict[str, Float[np.ndarray, "head pair ..."]]:
    """Lengths of the pairs by position, and the mean vector before rotation.

    Parameters
    ----------
    x : rotated queries or keys
    edges : lower edges of the position bins

    Returns
    -------
    dict : ``norm`` (head, pair, bin), the root mean square length in each bin; ``offset`` (head, pair),
    the length of the mean pre-rotary vector over the root mean square length; ``phase`` (head, pair),
    its direction in radians
    """
    heads, length, _ = x.shape
    pairs = len(channels)
    first, second = torch.tensor(channels, device=x.device).unbind(-1)
    square = torch.zeros(heads, pairs, len(edges), dtype=torch.float64, device=x.device)
    mean = torch.zeros(heads, pairs, dtype=torch.complex128, device=x.device)
    stops = [*edges[1:], length]
    for bin_, (start, stop) in enumerate(zip(edges, stops, strict=True)):
        for low in range(start, stop, POSITIONS_AT_ONCE):
            part = x[:, low : min(low + POSITIONS_AT_ONCE, stop)].float()
            positions = torch.arange(low, low + part.shape[1], device=x.device)
            still = unrotate(part, positions, inv_freq, channels, 1.0)
            a, b = still[..., first], still[..., second]
            square[..., bin_] += (a.square() + b.square()).sum(1, dtype=torch.float64)
            mean += torch.complex(a.sum(1, dtype=torch.float64), b.sum(1, dtype=torch.float64))
    counts = torch.as_tensor(np.subtract(stops, edges), device=x.device)
    rms = (square.sum(-1) / length).sqrt()
    return {
        "norm": (square / counts).sqrt().float().cpu().numpy(),
        "offset": ((mean / length).abs() / rms).float().cpu().numpy(),
        "phase": mean.angle().float().cpu().numpy(),
    }

"""Queries and keys pair by pair: lengths by position, the mean vector before rotation, samples."""

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
    sides: dict[str, Float[Tensor, "_ position head_dim"]],
    inv_freq: Float[np.ndarray, " pair"],
    channels: Int[np.ndarray, "pair 2"],
    edges: list[int],
) -> dict[str, Float[np.ndarray, "_ pair *bin"]]:
    """Lengths of the pairs by position, and the mean vector before rotation.

    Parameters
    ----------
    sides : rotated vectors, (head, position, head_dim), by name: queries and keys
    edges : lower edges of the position bins

    Returns
    -------
    dict, for each SIDE: ``SIDE_norm`` (head, pair, bin), the root mean square length in each bin;
    ``SIDE_offset`` (head, pair), the length of the mean pre-rotary vector over the root mean square
    length; ``SIDE_phase`` (head, pair), its direction in radians
    """
    first, second = torch.tensor(channels).unbind(-1)
    totals = {name: _Totals(x, len(channels), len(edges)) for name, x in sides.items()}
    length = next(iter(sides.values())).shape[1]
    for bin_, (start, stop) in enumerate(zip(edges, [*edges[1:], length], strict=True)):
        for low in range(start, stop, POSITIONS_AT_ONCE):
            part = slice(low, min(low + POSITIONS_AT_ONCE, stop))
            device = next(iter(sides.values())).device
            cos, sin = _tables(torch.arange(part.start, part.stop, device=device), inv_freq)
            for name, x in sides.items():
                totals[name].add(x[:, part, first].float(), x[:, part, second].float(), cos, sin, bin_)
    counts = np.diff([*edges, length])
    return {
        f"{name}_{statistic}": values
        for name, total in totals.items()
        for statistic, values in total.results(counts).items()
    }


class _Totals:
    """Running sums over positions of the squared lengths and of the unrotated vectors of one side."""

    def __init__(self, x: Float[Tensor, "head position head_dim"], pairs: int, bins: int):
        zeros = {"dtype": torch.float64, "device": x.device}
        self._square = torch.zeros(len(x), pairs, bins, **zeros)
        self._mean = torch.zeros(2, len(x), pairs, **zeros)

    def add(
        self,
        a: Float[Tensor, "head position pair"],
        b: Float[Tensor, "head position pair"],
        cos: Table,
        sin: Table,
        bin_: int,
    ) -> None:
        self._square[..., bin_] += (a * a + b * b).sum(1, dtype=torch.float64)
        self._mean[0] += (a * cos + b * sin).sum(1, dtype=torch.float64)
        self._mean[1] += (b * cos - a * sin).sum(1, dtype=torch.float64)

    def results(self, counts: Int[np.ndarray, " bin"]) -> dict[str, np.ndarray]:
        square = self._square.cpu().numpy()
        x, y = self._mean.cpu().numpy() / counts.sum()
        return {
            "norm": np.sqrt(square / counts).astype(np.float32),
            "offset": (np.hypot(x, y) / np.sqrt(square.sum(-1) / counts.sum())).astype(np.float32),
            "phase": np.arctan2(y, x).astype(np.float32),
        }


def _tables(positions: Int[Tensor, " position"], inv_freq: Float[np.ndarray, " pair"]) -> tuple[Table, Table]:
    """Cosine and sine of position times inv_freq: angles in float64, tables in float32."""
    angle = positions.double()[:, None] * torch.tensor(inv_freq, device=positions.device)
    angle = angle.remainder(2 * torch.pi).float()
    return angle.cos(), angle.sin()

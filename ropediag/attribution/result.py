"""What an attribution found: parts by sequence, losses, figures and the file they are written to."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from ropediag.analysis.attribution import list_cost, tabulate_attribution
from ropediag.attribution.layout import Layout
from ropediag.attribution.points import Parts
from ropediag.attribution.walk import largest_move
from ropediag.intervene.pair_set import PairSet
from ropediag.store import write_whole
from ropediag.theory.phases import TrainingHistory


@dataclass(frozen=True, eq=False)
class Attribution:
    """The cost of a model's unseen angles, split by layer, head, pair and lag.

    Attributes
    ----------
    model : its name
    training : base and length of pretraining and tuning, with their sources
    kind, at : how lags are limited, and at which multiple of each pair's trained reach
    gates : the gated pairs, with their reaches
    layout : where layers, heads and pairs lie in the arrays
    stretches : positions whose mean loss was split
    edges : lower edges of the lag bins
    points : points of the path
    parts : of each sequence
    coarser : likewise, by half as many intervals, to see what still moves
    nll_windowed : (sequence, position) loss in windows of the longest sequences of training, nats
    attributes : root attributes of the file
    """

    model: str
    training: TrainingHistory
    kind: str
    at: float
    gates: PairSet
    layout: Layout
    stretches: tuple[range, ...]
    edges: tuple[int, ...]
    points: int
    parts: list[Parts]
    coarser: list[Parts]
    nll_windowed: Float[np.ndarray, "sequence position"]
    attributes: Mapping[str, str | int | float]

    @cached_property
    def table(self) -> xr.Dataset:
        """The parts with their intervals, as ``tabulate_attribution`` returns them."""
        return tabulate_attribution(self._raw(self.parts))

    def largest_change(self) -> float:
        """Return how far a part of a (layer, head, pair) moved at most when the points were doubled."""
        return largest_move(self.parts, self.coarser)

    def figures(self) -> dict[str, Any]:
        """Return all but the arrays as plain values, for JSON; what is not finite is None.

        Keys: ``model``, ``length``, those of ``Training``; ``kind``, ``at``, ``smallest_reach`` and
        ``largest_reach`` (of the gated pairs, tokens); ``stretches`` (first positions), ``points`` of the
        path, ``largest_change`` of a part when they were doubled; those of ``list_cost``.
        """
        reaches = self.gates.reaches()
        return {
            "model": self.model,
            "length": self.nll_windowed.shape[1],
            **self.training.numbers(),
            "sources": dict(self.training.sources),
            "phases": self.training.to_json(),
            "kind": self.kind,
            "at": self.at,
            "smallest_reach": min(reaches),
            "largest_reach": max(reaches),
            "stretches": [stretch.start for stretch in self.stretches],
            "points": self.points,
            "largest_change": self.largest_change(),
            **list_cost(self.table),
        }

    def write(self, path: Path, *, force: bool = False) -> Path:
        """Write parts, losses and figures as an HDF5 file of the schema.

        Raises
        ------
        CaptureError
            If the name is taken or the disk refuses; nothing is left under the name then.
        """
        raw = self._raw(self.parts)
        loss = ("nll", "nll_windowed")
        arrays = {
            f"{'loss' if name in loss else 'attribution'}/{name}": values.values
            for name, values in raw.data_vars.items()
        }
        coordinates = {str(name): values.values for name, values in raw.coords.items()}
        attributes = {**self.attributes, "figures": json.dumps(self.figures(), allow_nan=False)}
        return write_whole(path, coordinates, arrays, attributes, force=force)

    def _raw(self, parts: list[Parts]) -> xr.Dataset:
        gate = ("layer", "query_head", "pair")
        return xr.Dataset(
            {
                "nats": (("sequence", "stretch", *gate), np.stack([part.nats for part in parts])),
                "positions": ("stretch", [len(stretch) for stretch in self.stretches]),
                "by_lag": (("sequence", *gate, "lag"), np.stack([part.by_lag for part in parts])),
                "first_keys": (("sequence", *gate), np.stack([part.first_keys for part in parts])),
                "nll_limited": (("sequence", "position"), np.stack([part.nll_limited for part in parts])),
                "nll": (("sequence", "position"), np.stack([part.nll for part in parts])),
                "nll_windowed": (("sequence", "position"), self.nll_windowed),
                "lag_limit": (("layer", "pair"), self.layout.limits()),
            },
            {
                "sequence": np.arange(len(parts)),
                "stretch": [stretch.start for stretch in self.stretches],
                "layer": list(self.layout.layers),
                "query_head": list(self.layout.heads),
                "pair": list(self.layout.pairs),
                "lag": list(self.edges),
                "position": np.arange(len(parts[0].nll)),
            },
        )

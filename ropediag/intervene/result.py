"""What an ablation found: the losses, the figures and the file they are written to."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ropediag.evaluate.result import finite, plain_recall
from ropediag.evaluate.retrieval import Recall
from ropediag.intervene.intervention import ByPair, Intervention, Pairs, Place
from ropediag.intervene.knee import Knee
from ropediag.intervene.pair_set import PairSet
from ropediag.intervene.repair import Repair
from ropediag.intervene.search import Search
from ropediag.store import write_whole
from ropediag.theory.phases import TrainingHistory


@dataclass(frozen=True, eq=False)
class Ablation:
    """One intervention on one model, and what it repaired.

    Attributes
    ----------
    model : its name
    training : base and length of pretraining and tuning, with their sources
    change : the intervention on the chosen pairs, by (layer, query head); at the first of ``at``
    at : multiples of each pair's trained reach at which its lag was limited; none where it does not go by it
    chosen : what was asked for: ``past``, ``before``, ``all``, ``flagged`` or a list
    untouched : pairs that were asked for and have no trained reach, so they stay as they are
    critical : layer -> critical pair
    sets : the chosen pairs, then the random sets
    nll, nll_windowed : (sequence, position) loss of the untouched model, nats; NaN at position 0
    nll_changed : (run, sequence, position) loss under each of ``sets``, at the first of ``at``, then the next
    repairs : one entry for each multiple of the trained length, the longer of training and tuning length; all
        of them at one of ``at`` after the other
    search : None if none was asked for
    knees : damage of single pairs that are let go; none if not asked for
    recall, recall_changed : of the untouched and of the changed model; none if not asked for
    attributes : root attributes of the file
    """

    model: str
    training: TrainingHistory
    change: Intervention
    at: tuple[float, ...]
    chosen: str | tuple[int, ...]
    untouched: Mapping[Place, Pairs]
    critical: Mapping[int, int]
    sets: tuple[PairSet, ...]
    nll: Float[np.ndarray, "sequence position"]
    nll_windowed: Float[np.ndarray, "sequence position"]
    nll_changed: Float[np.ndarray, "run sequence position"]
    repairs: tuple[Repair, ...]
    search: Search | None
    knees: tuple[Knee, ...]
    recall: tuple[Recall, ...]
    recall_changed: tuple[Recall, ...]
    attributes: dict[str, str | int | float]

    @property
    def curve(self) -> tuple[Repair, ...]:
        """What is repaired over all positions past the trained length, an entry for each of ``at``."""
        return tuple(repair for repair in self.repairs if repair.multiple == self.repairs[-1].multiple)

    def lag_limits(self, run: int) -> Mapping[Place, ByPair] | None:
        """Return the longest lag of each pair in a run, tokens; None where lags are not limited."""
        if self.at:
            return self.sets[run % len(self.sets)].limits(self.at[run // len(self.sets)])
        if self.change.limit is None:
            return None
        limit = float(self.change.limit)
        return {place: dict.fromkeys(pairs, limit) for place, pairs in self.sets[run].pairs.items()}

    def figures(self) -> dict[str, Any]:
        """Give everything but the loss arrays as plain values, for JSON; what is not finite is None.

        Keys: ``model``, ``length``, ``sequences``, those of ``Training``; ``kind``, ``limit``, ``factor``,
        ``log_train_len``, ``new_base`` (of the intervention), ``at``, ``smallest_reach`` and
        ``largest_reach`` (of the chosen pairs, tokens); ``chosen``, ``critical_pair`` (by layer), ``pairs``,
        ``untouched_pairs`` and ``random_pairs`` (lists of ``layers``, ``heads``, ``pairs``); ``repairs``, a
        list with the fields of ``Repair``; ``search``, those of ``Search``; ``knees``, a list with the
        fields of ``Knee``; ``recall``, a list with ``task``, ``untouched`` and ``changed``, each as in an
        evaluation.
        """
        sequences, length = self.nll.shape
        recall = zip(self.recall, self.recall_changed, strict=True)
        change, reaches = self.change, self.sets[0].reaches()
        plain = {
            "model": self.model,
            "length": length,
            "sequences": sequences,
            **self.training.numbers(),
            "sources": dict(self.training.sources),
            "phases": self.training.to_json(),
            "kind": change.kind,
            "limit": change.limit,
            "factor": change.factor,
            "log_train_len": change.train_len,
            "new_base": change.base,
            "at": list(self.at),
            "smallest_reach": min(reaches, default=None),
            "largest_reach": max(reaches, default=None),
            "chosen": self.chosen if isinstance(self.chosen, str) else list(self.chosen),
            "critical_pair": {str(layer): pair for layer, pair in self.critical.items()},
            "pairs": group_places(self.sets[0].pairs),
            "untouched_pairs": group_places(self.untouched),
            "random_pairs": [group_places(other.pairs) for other in self.sets[1:]],
            "repairs": [asdict(repair) for repair in self.repairs],
            "search": asdict(self.search) if self.search else None,
            "knees": [asdict(knee) for knee in self.knees],
            "recall": [
                {"task": one.task, "untouched": plain_recall(one), "changed": plain_recall(other)}
                for one, other in recall
            ],
        }
        return finite(plain)

    def write(self, path: Path, *, force: bool = False) -> Path:
        """Write losses, pairs and figures as an HDF5 file of the schema.

        Raises
        ------
        CaptureError
            If the name is taken or the disk refuses; nothing is left under the name then.
        """
        runs, sequences, length = self.nll_changed.shape
        layers = sorted({layer for layer, _ in self.sets[0].pairs})
        heads = sorted({head for _, head in self.sets[0].pairs})
        pairs = 1 + max(pair for each in self.sets for own in each.pairs.values() for pair in own)
        taken = np.zeros((runs, len(layers), len(heads), pairs), dtype=np.int32)
        limits = np.full(taken.shape, np.nan)
        for run in range(runs):
            limited = self.lag_limits(run) or {}
            for (layer, head), own in self.sets[run % len(self.sets)].pairs.items():
                row = run, layers.index(layer), heads.index(head)
                taken[*row, list(own)] = 1
                for pair, limit in limited.get((layer, head), {}).items():
                    limits[*row, pair] = limit
        coordinates = {
            "run": np.arange(runs),
            "sequence": np.arange(sequences),
            "position": np.arange(length),
            "layer": np.array(layers),
            "query_head": np.array(heads),
            "pair": np.arange(pairs),
        }
        arrays = {
            "loss/nll": self.nll,
            "loss/nll_windowed": self.nll_windowed,
            "ablation/nll": self.nll_changed,
            "ablation/chosen": taken,
        }
        if np.isfinite(limits).any():
            arrays["ablation/lag_limit"] = limits
        if self.at:
            arrays["ablation/at"] = np.repeat(self.at, len(self.sets))
        attributes = {**self.attributes, "figures": json.dumps(self.figures(), allow_nan=False)}
        return write_whole(path, coordinates, arrays, attributes, force=force)


def group_places(places: Mapping[Place, Pairs]) -> list[dict[str, list[int]]]:
    """Draw together the layers and heads that have the same pairs: layers with the same heads, too."""
    by_layer: dict[tuple[int, Pairs], list[int]] = {}
    for (layer, head), pairs in sorted(places.items()):
        by_layer.setdefault((layer, pairs), []).append(head)
    groups: dict[tuple[tuple[int, ...], Pairs], list[int]] = {}
    for (layer, pairs), heads in by_layer.items():
        groups.setdefault((tuple(heads), pairs), []).append(layer)
    return [
        {"layers": layers, "heads": list(heads), "pairs": list(pairs)}
        for (heads, pairs), layers in groups.items()
    ]

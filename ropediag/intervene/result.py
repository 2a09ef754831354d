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
from ropediag.intervene.intervention import Intervention, Pairs, Place
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
    change : the intervention; its pairs by (layer, query head)
    chosen : what was asked for: ``past``, ``before``, ``all``, ``flagged`` or a list
    critical : layer -> critical pair
    sets : the chosen pairs, then the random sets, each by (layer, query head)
    nll, nll_windowed : (sequence, position) loss of the untouched model, nats; NaN at position 0
    nll_changed : (run, sequence, position) loss under each of ``sets``
    repairs : one entry for each multiple of the trained length, the longer of training and tuning length
    search : None if none was asked for
    recall, recall_changed : of the untouched and of the changed model; none if not asked for
    attributes : root attributes of the file
    """

    model: str
    training: TrainingHistory
    change: Intervention
    chosen: str | tuple[int, ...]
    critical: Mapping[int, int]
    sets: tuple[Mapping[Place, Pairs], ...]
    nll: Float[np.ndarray, "sequence position"]
    nll_windowed: Float[np.ndarray, "sequence position"]
    nll_changed: Float[np.ndarray, "run sequence position"]
    repairs: tuple[Repair, ...]
    search: Search | None
    recall: tuple[Recall, ...]
    recall_changed: tuple[Recall, ...]
    attributes: dict[str, str | int | float]

    def figures(self) -> dict[str, Any]:
        """Give everything but the loss arrays as plain values, for JSON; what is not finite is None.

        Keys: ``model``, ``length``, ``sequences``, those of ``Training``; ``kind``, ``limit``, ``factor``,
        ``log_train_len``, ``new_base`` (of the intervention); ``chosen``, ``critical_pair`` (by layer),
        ``pairs`` and ``random_pairs`` (lists of ``layers``, ``heads``, ``pairs``); ``repairs``, a list with
        the fields of ``Repair``; ``search``, those of ``Search``; ``recall``, a list with ``task``,
        ``untouched`` and ``changed``, each as in an evaluation.
        """
        sequences, length = self.nll.shape
        recall = zip(self.recall, self.recall_changed, strict=True)
        change = self.change
        plain = {
            "model": self.model,
            "length": length,
            "sequences": sequences,
            **asdict(self.training),
            "kind": change.kind,
            "limit": change.limit,
            "factor": change.factor,
            "log_train_len": change.train_len,
            "new_base": change.base,
            "chosen": self.chosen if isinstance(self.chosen, str) else list(self.chosen),
            "critical_pair": {str(layer): pair for layer, pair in self.critical.items()},
            "pairs": group_places(self.sets[0]),
            "random_pairs": [group_places(pairs) for pairs in self.sets[1:]],
            "repairs": [asdict(repair) for repair in self.repairs],
            "search": asdict(self.search) if self.search else None,
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
        layers = sorted({layer for layer, _ in self.sets[0]})
        heads = sorted({head for _, head in self.sets[0]})
        pairs = 1 + max(pair for pairs in self.sets for chosen in pairs.values() for pair in chosen)
        taken = np.zeros((runs, len(layers), len(heads), pairs), dtype=np.int32)
        for run, places in enumerate(self.sets):
            for (layer, head), chosen in places.items():
                taken[run, layers.index(layer), heads.index(head), list(chosen)] = 1
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

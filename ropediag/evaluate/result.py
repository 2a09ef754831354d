"""What an evaluation found: the arrays, the figures and the file they are written to."""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ropediag.analysis.limit import MeasuredLimit
from ropediag.evaluate.keytokens import KeyTokens
from ropediag.evaluate.perplexity import SlidingPerplexity
from ropediag.evaluate.regression import Regression
from ropediag.evaluate.retrieval import Recall
from ropediag.store import write_whole
from ropediag.theory.phases import TrainingHistory
from ropediag.tune.measure import Estimate, share_interval


@dataclass(frozen=True)
class Limits:
    """The limits of a model: predicted, first reach and measured, tokens; None where there is none."""

    predicted: float | None
    first_reach: float | None
    measured: MeasuredLimit


@dataclass(frozen=True, eq=False)
class Evaluation:
    """One model, evaluated.

    Attributes
    ----------
    model : its name
    training : base and length of pretraining and tuning, with their sources
    nll, nll_windowed : (sequence, position) loss with all of the text before a token, and with fewer than
        as many as the longest sequences of training have, nats; NaN at position 0
    predicted : the law's limit, tokens; None where it sets none
    first_reach : smallest trained reach of a pair, tokens; None without one
    measured : from the excess, nll minus nll_windowed
    excess : (multiple of the training length, mean excess there in nats)
    single_pass_perplexity : exp of the mean of nll
    sliding_perplexity : in windows, a different number
    recall : one entry for each task; none if the model has no tokenizer or no trials were asked for
    disagreement : one sentence for each task where loss and recall disagree
    key_tokens : None if the text is no longer than the short window of the evaluator
    regression : None without a parent
    parent_limits : limits of the parent, from the same text; None without one
    tasks : what the harness gave, by task and metric; empty if none were asked for
    log_attention : whether logits were scaled with the length
    attributes : root attributes of the file
    """

    model: str
    training: TrainingHistory
    nll: Float[np.ndarray, "sequence position"]
    nll_windowed: Float[np.ndarray, "sequence position"]
    predicted: float | None
    first_reach: float | None
    measured: MeasuredLimit
    excess: tuple[tuple[float, float], ...]
    single_pass_perplexity: float
    sliding_perplexity: SlidingPerplexity
    recall: tuple[Recall, ...]
    disagreement: tuple[str, ...]
    key_tokens: KeyTokens | None
    regression: Regression | None
    parent_limits: Limits | None
    tasks: dict[str, dict[str, Any]]
    log_attention: bool
    attributes: dict[str, str | int | float]

    def figures(self) -> dict[str, Any]:
        """Give everything but the loss arrays as plain values, for JSON; what is not finite is None."""
        sequences, length = self.nll.shape
        read_as = {key: self.attributes.get(key) for key in ("dtype", "dtype_reason", "bos")}
        plain: dict[str, Any] = {
            "model": self.model,
            "length": length,
            "sequences": sequences,
            **self.training.numbers(),
            "sources": dict(self.training.sources),
            "phases": self.training.to_json(),
            "log_attention": self.log_attention,
            **read_as,
            "limit": {
                "predicted": self.predicted,
                "first_reach": self.first_reach,
                "measured": asdict(self.measured),
            },
            "excess": [{"multiple": multiple, "nats": nats} for multiple, nats in self.excess],
            "perplexity": {
                "single_pass": self.single_pass_perplexity,
                "sliding_window": asdict(self.sliding_perplexity),
            },
            "recall": [plain_recall(recall) for recall in self.recall],
            "disagreement": list(self.disagreement),
            "key_tokens": asdict(self.key_tokens) if self.key_tokens else None,
            "regression": asdict(self.regression) if self.regression else None,
            "parent_limit": asdict(self.parent_limits) if self.parent_limits else None,
            "tasks": self.tasks,
        }
        return finite(plain)

    def write(self, path: Path, *, force: bool = False) -> Path:
        """Write losses, recall and figures as an HDF5 file of the schema.

        Raises
        ------
        CaptureError
            If the name is taken or the disk refuses; nothing is left under the name then.
        """
        sequences, length = self.nll.shape
        coordinates = {"sequence": np.arange(sequences), "position": np.arange(length)}
        arrays: dict[str, np.ndarray] = {"loss/nll": self.nll, "loss/nll_windowed": self.nll_windowed}
        if self.recall:
            coordinates |= {
                "task": np.arange(len(self.recall)),
                "length": np.array(self.recall[0].lengths),
                "depth": np.array(self.recall[0].depths),
            }
            arrays |= {
                "recall/task_name": np.array([recall.task for recall in self.recall], dtype=object),
                "recall/hits": np.stack([recall.hits for recall in self.recall]),
                "recall/count": np.stack([recall.count for recall in self.recall]),
                "recall/answer_lag": np.stack([recall.lag for recall in self.recall]).astype(np.float32),
            }
        attributes = {**self.attributes, "figures": json.dumps(self.figures(), allow_nan=False)}
        return write_whole(path, coordinates, arrays, attributes, force=force)


def recall_by_length(recall: Recall) -> list[tuple[int, Estimate]]:
    """Give the recall at each length that has answers, over all depths, with its 95 % interval."""
    sums = zip(
        recall.lengths, recall.hits.sum(axis=1).tolist(), recall.count.sum(axis=1).tolist(), strict=True
    )
    return [(length, share_interval(hits, count)) for length, hits, count in sums if count]


def plain_recall(recall: Recall) -> dict[str, Any]:
    """Give recall as plain values, with the share and its interval at each length and in each cell."""
    cells = [
        {
            "length": length,
            "depth": depth,
            "hits": int(recall.hits[row, column]),
            "lag": float(recall.lag[row, column]),
            **asdict(share_interval(int(recall.hits[row, column]), int(recall.count[row, column]))),
        }
        for row, length in enumerate(recall.lengths)
        for column, depth in enumerate(recall.depths)
        if recall.count[row, column]
    ]
    by_length = [{"length": length, **asdict(share)} for length, share in recall_by_length(recall)]
    return {"task": recall.task, "chance": recall.chance, "by_length": by_length, "cells": cells}


def finite(value: Any) -> Any:
    """Replace what JSON has no number for, NaN and infinity, by None."""
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value

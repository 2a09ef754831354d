"""Recall by length and depth, from an evaluation: the share of right answers, labelled."""

from typing import TYPE_CHECKING

import numpy as np

from ropediag.errors import CaptureError
from ropediag.store import Capture

if TYPE_CHECKING:
    import xarray as xr


def measure_recall_share(evaluation: Capture, task: str | None = None) -> "xr.Dataset":
    """Take the recall of one task from an evaluation file.

    Parameters
    ----------
    evaluation : an open file of kind ``evaluation``
    task : ``key-value``, ``passkey`` or ``needle``; the first one if None

    Returns
    -------
    xr.Dataset, axes (length, depth)
        ``share`` (0 to 1, NaN where nothing was asked), ``hits``, ``count`` and ``answer_lag``; attributes
        ``model``, ``task``, ``base`` and ``train_len``.

    Raises
    ------
    CaptureError
        If the file holds no recall, or not of this task.
    """
    if "recall" not in evaluation:
        raise CaptureError(
            f"{evaluation.path} holds no recall. Make it with: ropediag evaluate --out NAME.h5, "
            "with --trials above 0."
        )
    recall = evaluation.recall
    names = recall.task_name.values.tolist()
    if task is not None and task not in names:
        raise CaptureError(f"{evaluation.path} holds no recall of {task!r}: only of {', '.join(names)}.")
    found = recall.isel(task=names.index(task) if task else 0).drop_vars(["task_name", "task"])
    share = found.hits / found["count"].where(found["count"] > 0, np.nan)
    labels = {"units": "1", "long_name": "share of right answers", "method": "sampled"}
    attrs = {name: evaluation.attrs[name] for name in ("model", "base", "train_len")}
    return found.assign(share=share.assign_attrs(labels)).assign_attrs(attrs | {"task": task or names[0]})

"""Training windows: random cuts of the text, a share of them recall windows.

Window ``i`` depends on the seed and on ``i`` alone, so a run sees the same windows in the same order
whatever draws them.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.data import Dataset

from ropediag.tune.recall import recall_window

IGNORED = -100  # a label that no loss is taken of


class TrainingWindows(Dataset):
    """The windows of one run, as ``{"input_ids": ..., "labels": ...}``, both (position,) int64.

    Parameters
    ----------
    text : (token,) integer array, at least as long as a window's part of it
    length : int, tokens
        Length of every window, the training length.
    windows : int
    recall_share : float, 0 to 1
        Share of the windows that are recall windows.
    seed : int
    leading : sequence of int
        Special tokens with which every window of text begins; they count among its ``length`` tokens, and
        nothing is trained to predict them.
    """

    def __init__(
        self,
        text: np.ndarray,
        length: int,
        windows: int,
        recall_share: float,
        seed: int,
        leading: Sequence[int] = (),
    ) -> None:
        self.text = text
        self.length = length
        self.windows = windows
        self.recall_share = recall_share
        self.seed = seed
        self.leading = np.array(leading, dtype=np.int64)

    def __len__(self) -> int:
        return self.windows

    def __getitem__(self, window: int) -> dict[str, torch.Tensor]:
        rng = np.random.default_rng([self.seed, window])
        if rng.random() < self.recall_share:
            ids, _ = recall_window(rng, self.text, self.length, repeat=True)
        else:
            room = self.length - self.leading.size
            start = int(rng.integers(0, self.text.size - room + 1))
            ids = np.concatenate([self.leading, self.text[start : start + room]], dtype=np.int64)
        labels = torch.from_numpy(ids).clone()
        labels[: self.leading.size] = IGNORED
        return {"input_ids": torch.from_numpy(ids), "labels": labels}

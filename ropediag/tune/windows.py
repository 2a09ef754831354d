"""Training windows: random cuts of the text, a share of them recall windows.

Window ``i`` depends on the seed and on ``i`` alone, so a run sees the same windows in the same order
whatever draws them.
"""

import numpy as np
import torch
from torch.utils.data import Dataset

from ropediag.tune.recall import recall_window


class TrainingWindows(Dataset):
    """The windows of one run, as ``{"input_ids": ..., "labels": ...}``, both (position,) int64.

    Parameters
    ----------
    text : (byte,) uint8 array, at least ``length`` bytes
    length : int, tokens
        Length of every window, the training length.
    windows : int
    recall_share : float, 0 to 1
        Share of the windows that are recall windows.
    seed : int
    """

    def __init__(self, text: np.ndarray, length: int, windows: int, recall_share: float, seed: int) -> None:
        self.text = text
        self.length = length
        self.windows = windows
        self.recall_share = recall_share
        self.seed = seed

    def __len__(self) -> int:
        return self.windows

    def __getitem__(self, window: int) -> dict[str, torch.Tensor]:
        rng = np.random.default_rng([self.seed, window])
        if rng.random() < self.recall_share:
            ids, _ = recall_window(rng, self.text, self.length, repeat=True)
        else:
            start = int(rng.integers(0, self.text.size - self.length + 1))
            ids = self.text[start : start + self.length].astype(np.int64)
        tokens = torch.from_numpy(ids)
        return {"input_ids": tokens, "labels": tokens}

"""A process that captures a saved model slowly enough to be killed between any two units."""

import time

import torch

from ropediag.capture import Reporter, capture_checkpoint
from ropediag.config import CaptureConfig

torch.set_num_threads(1)
PAUSE = 0.05  # seconds after each unit


class Slow(Reporter):
    """Wait after each unit, and before the units become one file."""

    def layer_done(self, sequence, layer):
        time.sleep(PAUSE)

    def loss_done(self, sequence):
        time.sleep(PAUSE)

    def writing(self, path):
        time.sleep(PAUSE)


def make_config(folder, out, **changes):
    options = {"length": 60, "sequences": 2, "train_len": 20, "rows": 3, "keep_qk": ((1, 0),), "resume": True}
    return CaptureConfig(
        model=str(folder / "model"), tokens=folder / "ids.npy", out=out, **{**options, **changes}
    )


def live(folder, out):
    """Begin the capture or go on with it."""
    capture_checkpoint(make_config(folder, out), Slow())

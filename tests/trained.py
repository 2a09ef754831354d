"""Trainings of one layer for tests, from rotations and lengths."""

import numpy as np

from ropediag.theory.training import ALL_LAGS, Phase, Training


def one_layer(now, *phases, window=ALL_LAGS):
    """Build the training of a layer that turns as ``now``; each phase is a rotation and a length."""
    windows, unknown = np.array([window]), np.array([np.nan])
    shown = [
        Phase(np.asarray(rotation, dtype=float)[None], unknown, length, windows, f"phase {at}", "a test")
        for at, (rotation, length) in enumerate(phases)
    ]
    return Training(tuple(shown), np.asarray(now, dtype=float)[None], unknown, windows)

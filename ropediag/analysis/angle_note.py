"""Says in one line that a model turns by other angles than its config states. NumPy alone, so that
``ropediag info`` stays quick; the diagnostic is ``angle_error``."""

import numpy as np

from ropediag.store import Capture

NOTABLE = 0.05  # radians: a hundredth of a turn
ROUNDING = 4 * 2.0**-24  # of float32, relative to an angle as large as its position


def note_angle_error(capture: Capture) -> str | None:
    """Write a note where the applied angles are off; None where they are right or not in the file."""
    if "vectors/angle_error" not in capture.variables:
        return None
    error = np.abs(capture.values("vectors/angle_error"))
    notable = np.maximum(NOTABLE, ROUNDING * capture.values("sample"))
    if not (error > notable).any():
        return None
    row, pair, sample = np.unravel_index(np.nanargmax(error), error.shape)
    layer, position = capture.values("layer")[row], capture.values("sample")[sample]
    return (
        f"the model's angles are off by up to {error[row, pair, sample]:.2g} rad (layer {layer}, pair "
        f"{pair}, position {position:,}), far more than in float32: frequencies cast to 16 bits do that."
    )

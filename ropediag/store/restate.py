"""Replace the phases of training in a finished capture, atomically.

Statistics by lag do not depend on training. The logits split at the critical pair and the loss in windows do;
they stay as they were measured, and the file records the pair and the window.
"""

import io
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from ropediag.errors import CaptureError, ConfigError
from ropediag.schema import ATTRIBUTES, VERSION
from ropediag.store.consolidate import replace_group
from ropediag.store.disk import publish_alone
from ropediag.store.guard import check_attributes, check_writable
from ropediag.store.hdf5 import LIBVER
from ropediag.store.reader import Capture, open_capture
from ropediag.store.seal import SIZE, check_seal, seal_of
from ropediag.theory.phases import PhaseSpec
from ropediag.theory.record import describe_history, describe_training, restate_training


def set_training(path: Path | str, phases: Sequence[PhaseSpec]) -> Capture:
    """Replace the phases of training of a finished capture.

    Parameters
    ----------
    path : of the capture, NAME.h5
    phases : all of them, oldest first. A base applies to the layers that have the base of the model

    Returns
    -------
    Capture
        Open; ``stale`` names the parts that were measured under another statement.

    Raises
    ------
    CaptureError
        If the capture is not finished, or cannot be written.
    ConfigError
        If there is no phase, or one cannot be computed.
    FormatError
        If the file is damaged. After an error the file is unchanged.
    """
    place = Path(path)
    with open_capture(place) as capture:
        if capture.status != "complete" or not place.is_file():
            raise CaptureError(
                f"{place} is not finished: finish it with ropediag capture --resume, then state its training."
            )
        if capture.attrs.get("kind", "capture") != "capture":
            raise ConfigError(f"{place} holds an {capture.attrs['kind']}: give a file of ropediag capture.")
        history, training = restate_training(capture.attrs, capture.__contains__, capture.values, phases)
        arrays = describe_training(training)
        kept = {name: value for name, value in capture.attrs.items() if name in ATTRIBUTES}
        window = capture.window_len
    attributes = kept | describe_history(history)
    if window:
        attributes["window_len"] = window
    check_writable(place)
    content = place.read_bytes()
    image = io.BytesIO(content[:-SIZE] if check_seal(place, str(place)) else content)
    with h5py.File(image, "r+", libver=LIBVER) as file:
        replace_group(file, "training", {"phase": np.arange(len(phases), dtype="i4")}, arrays)
        file.attrs["Conventions"] = f"ropediag-{VERSION}"
        file.attrs.update(check_attributes(attributes) | {"status": "complete"})
    try:
        publish_alone(place, image.getvalue() + seal_of(image))
    except OSError as error:
        raise CaptureError(f"cannot write {place}: {error.strerror}.") from error
    return open_capture(place)

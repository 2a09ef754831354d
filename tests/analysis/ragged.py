"""A capture of a ragged model: grouped heads, a narrow layer, a layer without RoPE."""

import numpy as np

from ropediag.store import CaptureWriter
from tests.store.synthetic import make_attributes, make_header, make_layer, make_loss

FULL, NARROW, UNROTATED, COMING = 0, 1, 2, 3
LAYERS = (2, 3, 5, 7)  # of a model of which only these were captured


def write_ragged(path, sequences=2, finished=False, **attributes):
    """Write a capture, by default an unfinished one.

    By place on the layer axis: 0 has 4 query heads, 2 key heads and 3 pairs; 1 has 2 query heads and 2
    pairs; 2 does not rotate; 3, as 0, is still to come unless it is finished.

    Returns
    -------
    Path
        under which ``open_capture`` finds it
    """
    header = make_header(sequences, layers=LAYERS)
    for name, empty in (("rope/inv_freq", np.nan), ("rope/channels", -1)):
        values = np.array(header[name])
        values[NARROW, 2:], values[UNROTATED] = empty, empty
        header[name] = values
    header["rope/critical_pair"] = np.array([1, 1, -1, 1])
    header["vectors/angle_error"][NARROW, 2:], header["vectors/angle_error"][UNROTATED] = np.nan, np.nan
    sizes = {FULL: {}, NARROW: {"heads": 2, "pairs": 2}, UNROTATED: {"pairs": 0}}
    sizes |= {COMING: {}} if finished else {}
    with CaptureWriter.create(path, header, make_attributes(**attributes)) as writer:
        for sequence in range(sequences):
            for place, size in sizes.items():
                unit = make_layer(header, sequence, LAYERS[place], **size)
                writer.write_layer(sequence, LAYERS[place], unit)
            writer.write_loss(sequence, make_loss(sequence))
        if finished:
            writer.finish({"seconds": 1.0})
    return path

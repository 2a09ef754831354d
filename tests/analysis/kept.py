"""Captures with kept heads of random vectors, and their logits written out."""

import numpy as np

from ropediag.schema import block_size
from ropediag.store import CaptureWriter
from tests.store.synthetic import make_attributes, make_header, make_layer, make_loss

SCALING, FACTOR = 0.3, 1.25


def write_kept(path, length, window=-1, pairs=3, sequences=1):
    """A capture that kept layer 2, head 1, with maxima of its logits; its last two channels do not turn."""
    header = make_header(sequences, layers=(2,), heads=2, kv_heads=1, pairs=pairs, length=length)
    blocks = np.arange(0, length, block_size(length))
    header |= {
        "kept": np.arange(1), "samples/kept_layer": np.array([2]), "samples/kept_head": np.array([1]),
        "query_block": blocks, "key_block": blocks, "rope/window": np.array([window]),
        "rope/attention_factor": np.array([FACTOR]), "rope/logit_scaling": np.array([SCALING]),
    }  # fmt: skip
    with CaptureWriter.create(path, header, make_attributes(length=length)) as writer:
        for sequence in range(sequences):
            unit = make_layer(header, sequence, 2)
            logits = write_out(header, unit["samples/kept_query"][0], unit["samples/kept_key"][0])
            unit["samples/kept_maximum"] = largest(logits, block_size(length))[None].astype("f4")
            writer.write_layer(sequence, 2, unit)
            writer.write_loss(sequence, {name: np.zeros(length, "f4") for name in make_loss(0)})
        return writer.finish({"seconds": 1.0})


def write_out(header, query, key, pairs=None):
    """Logits (query, key) of all pairs and the rest, or of some pairs; NaN where the key is not visible."""
    position = np.arange(len(query))
    logits = np.zeros((len(query), len(query)))
    rotated = []
    for pair, (frequency, (a, b)) in enumerate(
        zip(header["rope/inv_freq"][0], header["rope/channels"][0], strict=True)
    ):
        turn = FACTOR * np.exp(1j * position * frequency)
        q, k = ((x[:, a] + 1j * x[:, b]) * turn for x in (query.astype(float), key.astype(float)))
        if pairs is None or pair in pairs:
            logits += (np.conj(q)[:, None] * k).real
        rotated += [a, b]
    if pairs is None:
        rest = np.setdiff1d(np.arange(query.shape[1]), rotated)
        logits += query[:, rest].astype(float) @ key[:, rest].T
    lag = position[:, None] - position
    window = int(header["rope/window"][0])
    visible = (lag >= 0) & (lag < (window if window > 0 else len(query)))
    return np.where(visible, SCALING * logits, np.nan)


def largest(logits, block):
    return merge(logits, block, block, np.max)


def merge(logits, query_step, key_step, how):
    """One value a cell, from its visible logits; NaN without any."""
    starts = range(0, len(logits), query_step), range(0, logits.shape[1], key_step)
    found = np.full((len(starts[0]), len(starts[1])), np.nan)
    for row, first in enumerate(starts[0]):
        for column, start in enumerate(starts[1]):
            cell = logits[first : first + query_step, start : start + key_step]
            if np.isfinite(cell).any():
                found[row, column] = how(cell[np.isfinite(cell)])
    return found

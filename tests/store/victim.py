"""A process that writes a capture, says what is done, and may kill itself at a chosen operation."""

import os
import signal
import stat

from ropediag.errors import CaptureError
from ropediag.store import CaptureWriter, consolidate
from tests.store.synthetic import make_attributes, make_header, make_layer, make_loss

FULL_HEADER = make_header(layers=(0, 1), heads=2, kv_heads=1, pairs=2)
VARIABLES = ("scores/sum", "scores/pair_count", "rows/entropy", "rope/inv_freq")  # few, to be quick
AXES = ("sequence", "layer", "query_head", "pair", "lag", "coarse_lag", "row", "position")
HEADER = {name: FULL_HEADER[name] for name in FULL_HEADER if name in AXES or name.startswith(VARIABLES)}
OPERATIONS = ("mkdir", "write", "ftruncate", "fsync", "replace", "unlink", "rmdir")


def make_unit(sequence, layer):
    unit = make_layer(FULL_HEADER, sequence, layer)
    return {name: values for name, values in unit.items() if name.startswith(VARIABLES)}


def write_all(path, declare):
    """Begin or go on with the capture; ``declare`` hears of each unit once it is safe."""
    with CaptureWriter.resume(path, HEADER, make_attributes()) as writer:
        for sequence in HEADER["sequence"].tolist():
            for layer in HEADER["layer"].tolist():
                if not writer.has_layer(sequence, layer):
                    writer.write_layer(sequence, layer, make_unit(sequence, layer))
                declare((sequence, layer))
            if not writer.has_loss(sequence):
                writer.write_loss(sequence, make_loss(sequence))
            declare((sequence, None))
        writer.finish({})


def live(path, channel, kill_at=None, when="before"):
    """Write it all, killing this process before, after or in the middle of operation ``kill_at``."""
    count = count_operations(kill_at, when)
    write_all(path, channel.send)
    channel.send(("operations", count[0]))


def count_operations(kill_at, when):
    count = [0]

    def watch(name):
        original = getattr(os, name)

        def watched(*args, **kwargs):
            if name == "write" and not stat.S_ISREG(os.fstat(args[0]).st_mode):
                return original(*args, **kwargs)
            count[0] += 1
            if count[0] == kill_at:
                if when == "amid" and name == "write":
                    original(args[0], bytes(args[1])[: len(args[1]) // 2])
                elif when != "before":
                    original(*args, **kwargs)
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*args, **kwargs)

        setattr(os, name, watched)

    for name in OPERATIONS:
        watch(name)
    return count


def fill(path, channel, believe_in_room):
    """Write until the disk refuses, and tell what it said; optionally without asking for room first."""
    if believe_in_room:
        consolidate.free_space = lambda _: 2**40
    try:
        write_all(path, channel.send)
        channel.send("finished")
    except CaptureError as error:
        channel.send(str(error))

"""Read a TensorBoard event file back: records of length, checksum, message, checksum."""

import struct

from tensorboardX.proto.event_pb2 import Event


def read_scalars(folder):
    """List (tag, step, value) of all scalars in the event files below a folder."""
    found = []
    for path in folder.rglob("events.out.tfevents.*"):
        content = path.read_bytes()
        while content:
            (size,) = struct.unpack("<Q", content[:8])
            event = Event.FromString(content[12 : 12 + size])
            content = content[16 + size :]
            found += [
                (value.tag, event.step, value.simple_value)
                for value in event.summary.value
                if value.HasField("simple_value")
            ]
    return found

"""The store: captures on the disk, written so that a kill loses nothing, read without torch.

``CaptureWriter`` writes, ``open_capture`` reads, ``summarize`` tells what there is without reading it.
The format itself is data in ``ropediag.schema``.
"""

from ropediag.store.contents import Summary, summarize
from ropediag.store.reader import Capture, open_capture
from ropediag.store.writer import CaptureWriter

__all__ = ["Capture", "CaptureWriter", "Summary", "open_capture", "summarize"]

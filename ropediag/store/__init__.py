"""The store: captures on the disk, written so that a kill loses nothing, read without torch.

``CaptureWriter`` writes a capture unit by unit, ``write_whole`` a small file at once; ``open_capture`` reads
both, ``summarize`` tells what there is without reading it; ``open_study`` reads the table of a study.
The format itself is data in ``ropediag.schema``.
"""

from ropediag.store.contents import Summary, summarize
from ropediag.store.reader import Capture, open_capture
from ropediag.store.study import is_study, open_study, summarize_study
from ropediag.store.whole import check_name, write_whole
from ropediag.store.writer import CaptureWriter

__all__ = [
    "Capture",
    "CaptureWriter",
    "Summary",
    "check_name",
    "is_study",
    "open_capture",
    "open_study",
    "summarize",
    "summarize_study",
    "write_whole",
]

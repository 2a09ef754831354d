"""Which key head each query head reads: query heads in equal groups share one."""

import numpy as np
from jaxtyping import Int

from ropediag.errors import CaptureError
from ropediag.store import Capture


def key_head_index(capture: Capture) -> Int[np.ndarray, " query_head"]:
    """Find, for each query head of a capture, its key head's place on the ``kv_head`` axis.

    A capture of chosen heads does not state the size of a group: it is the smallest one by which these
    query heads read exactly these key heads.

    Raises
    ------
    CaptureError
        If no size of a group explains the heads.
    """
    return match_heads(capture.values("query_head"), capture.values("kv_head"))


def match_heads(
    query_heads: Int[np.ndarray, " query_head"], kv_heads: Int[np.ndarray, " kv_head"]
) -> Int[np.ndarray, " query_head"]:
    """Do what ``key_head_index`` does, from the two coordinates."""
    for group in range(1, int(query_heads.max()) + 2):
        read = query_heads // group
        if np.array_equal(np.unique(read), kv_heads):
            return np.searchsorted(kv_heads, read)
    raise CaptureError(
        f"query heads {query_heads.tolist()} cannot share key heads {kv_heads.tolist()} in equal groups."
    )

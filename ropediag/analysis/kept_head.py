"""A kept head: its queries and keys as they met in the model, ready for any part of its attention map.

Vectors are stored before the rotation and are turned again here, angles in float64. Beside them stand the
sums of the logits over blocks of queries x keys and the stored maxima of the same blocks: all that a map of
a large part of the sequence needs.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from ropediag.analysis.cell_sums import sum_cells
from ropediag.analysis.map_grid import lay_grid
from ropediag.config import parse_indices
from ropediag.errors import ConfigError, FormatError
from ropediag.rope import RopeSpec, rotate
from ropediag.schema import block_size
from ropediag.store import Capture

POSITIONS_AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class KeptHead:
    """One head of one sequence: 46 MB at 65,536 tokens of 64 channels, 80 MB of 128.

    Attributes
    ----------
    layer, query_head, sequence : which
    query : (position, channel) float32, rotated, times the logit scaling
    key : (position, channel) float32, rotated
    sums : (query_block, key_block) float64, of the visible logits, 0 where there are none
    maxima : (query_block, key_block) float32, NaN where there are none
    block : queries, and keys, of a block
    window : lags 0 .. window - 1 are visible; the length if all are
    softcap : of the softmax, NaN without; logits of the map are before it
    channels : (pair, 2) the two channels of each pair of the layer
    critical_pair : first pair past the critical dimension, -1 where the layer has none
    """

    layer: int
    query_head: int
    sequence: int
    query: Float[np.ndarray, "position channel"]
    key: Float[np.ndarray, "position channel"]
    sums: Float[np.ndarray, "query_block key_block"]
    maxima: Float[np.ndarray, "query_block key_block"]
    block: int
    window: int
    softcap: float
    channels: Int[np.ndarray, "pair 2"]
    critical_pair: int

    @property
    def length(self) -> int:
        """Positions of the sequence."""
        return len(self.query)

    @property
    def nbytes(self) -> int:
        """Bytes that its arrays take."""
        return sum(array.nbytes for array in (self.query, self.key, self.sums, self.maxima))


def list_kept_heads(capture: Capture) -> list[tuple[int, int]]:
    """List the (layer, query head) whose vectors the capture kept; empty if none."""
    if "samples/kept_query" not in capture:
        return []
    layers, heads = (capture.values(f"samples/kept_{name}").tolist() for name in ("layer", "head"))
    return list(zip(layers, heads, strict=True))


def load_kept_head(capture: Capture, layer: int, query_head: int, sequence: int = 0) -> KeptHead:
    """Read a kept head and turn its vectors.

    Raises
    ------
    ConfigError
        If this head was not kept, or there is no such sequence.
    FormatError
        If the file is of a format before 4, or does not hold the vectors of this sequence yet.
    """
    kept = list_kept_heads(capture)
    _check_place(capture, kept, layer, query_head, sequence)
    place = {
        "kept": kept.index((layer, query_head)),
        "sequence": capture.values("sequence").tolist().index(sequence),
    }
    row = capture.values("layer").tolist().index(layer)
    spec = capture.spec()
    size = int(spec.head_dim[row])
    query, key = (
        _rotate_again(capture[f"samples/kept_{side}"].isel(place).values[:, :size], spec, row)
        for side in ("query", "key")
    )
    if not np.isfinite(query[-1]).all():
        raise FormatError(
            f"{capture.path} does not hold layer {layer} of sequence {sequence} yet. Wait for the capture."
        )
    query *= np.float32(capture.values("rope/logit_scaling")[row])
    length, window = len(query), int(capture.values("rope/window")[row])
    window, block = window if 0 < window < length else length, block_size(length)
    return KeptHead(
        layer=layer,
        query_head=query_head,
        sequence=sequence,
        query=query,
        key=key,
        sums=sum_cells(query, key, lay_grid(length, window, cells=length, least=block)),
        maxima=capture["samples/kept_maximum"].isel(place).values,
        block=block,
        window=window,
        softcap=float(capture.values("rope/logit_softcap")[row]),
        channels=spec.channels[row, : spec.pair_count(row)],
        critical_pair=int(capture.training.critical_pair()[row]),
    )


def _check_place(
    capture: Capture, kept: list[tuple[int, int]], layer: int, query_head: int, sequence: int
) -> None:
    if not kept:
        raise ConfigError(explain_keeping(capture))
    if (layer, query_head) not in kept:
        named = ", ".join(f"{one}:{head}" for one, head in kept)
        raise ConfigError(f"layer {layer}, head {query_head} was not kept: {capture.path} holds {named}.")
    if sequence not in capture.values("sequence"):
        held = capture.values("sequence").tolist()
        raise ConfigError(f"{capture.path} has no sequence {sequence}: got only {held}.")
    if "rope/logit_scaling" not in capture or "samples/kept_maximum" not in capture:
        raise FormatError(
            f"{capture.path} (format {capture.attrs['schema_version']}) kept the vectors of this head, but "
            "neither the factor on its logits nor their maxima, which format 4 added. Capture it again with "
            "this ropediag: the same command with --force."
        )


def explain_keeping(capture: Capture) -> str:
    """Say how a capture comes to hold the vectors of a head."""
    model, length = capture.attrs.get("model", "MODEL"), int(capture.attrs["length"])
    return (
        f"{capture.path.name} kept no head, so its attention map cannot be drawn. Name layers and heads when "
        f"capturing: ropediag capture --model {model} --len {length} --keep-qk 1:0 --force"
    )


def _rotate_again(still: Float[np.ndarray, "position channel"], spec: RopeSpec, row: int) -> np.ndarray:
    turned = np.empty(still.shape, dtype=np.float32)
    geometry = spec.inv_freq[row], spec.channels[row], float(spec.attention_factor[row])
    for start in range(0, len(still), POSITIONS_AT_ONCE):
        part = still[start : start + POSITIONS_AT_ONCE]
        turned[start : start + len(part)] = rotate(part, start + np.arange(len(part)), *geometry)
    return turned


def check_pairs(what: str) -> bool:
    """Say whether a text lists pairs, such as ``11-31``; whether a head has them is another question."""
    try:
        return bool(parse_indices(what))
    except ConfigError:
        return False


def choose_channels(head: KeptHead, what: str) -> Int[np.ndarray, " channel"] | None:
    """Name the channels of a set of pairs.

    Parameters
    ----------
    what : ``total`` (the whole logit), ``all`` (all pairs, without the channels that are not rotated),
        ``before`` or ``past`` (the critical pair), or a list of pairs such as ``11-31``

    Returns
    -------
    channels of the head; None for the whole logit

    Raises
    ------
    ConfigError
        If there is no such pair, or the critical one is not known.
    """
    if what == "total":
        return None
    count = len(head.channels)
    if what in ("before", "past") and head.critical_pair < 0:
        raise ConfigError(
            f"layer {head.layer} has no critical pair, so nothing is {what} it. Choose pairs by number."
        )
    by_word = {"all": (0, count), "before": (0, head.critical_pair), "past": (head.critical_pair, count)}
    pairs = list(range(*by_word[what])) if what in by_word else list(parse_indices(what))
    if not pairs or pairs[-1] >= count:
        raise ConfigError(
            f"layer {head.layer} has the pairs 0 to {count - 1}: {what} names none, or another."
        )
    return head.channels[pairs].ravel()

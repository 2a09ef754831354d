"""The text around positions of a captured sequence: what a query or a key of the attention map stands in."""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Int

from ropediag.store import Capture

BEFORE, AFTER = 24, 40  # characters of context
PARTS = ("before", "token", "after")
_VISIBLE = str.maketrans({"\n": "↵", "\r": "", "\t": " "})


@dataclass(frozen=True, eq=False)
class TokenText:
    """The text of one sequence, token by token.

    Attributes
    ----------
    ids : (position) token ids
    pieces : token id -> its text
    """

    ids: Int[np.ndarray, " position"]
    pieces: dict[int, str]

    def around(self, position: int) -> tuple[str, str, str]:
        """Give the text before a position, of its token, and after it; line ends are shown as a sign."""
        start = max(0, position - BEFORE)
        stop = position + 1 + AFTER
        pieces = [self.pieces.get(token, "?") for token in self.ids[start:stop].tolist()]
        here = position - start
        before, after = "".join(pieces[:here]), "".join(pieces[here + 1 :])
        parts = before.translate(_VISIBLE), pieces[here].translate(_VISIBLE), after.translate(_VISIBLE)
        return parts[0][-BEFORE:], parts[1], parts[2][:AFTER]


def read_text(capture: Capture, sequence: int = 0) -> TokenText | None:
    """Read the text of a sequence; None if the capture did not store its tokens."""
    if "tokens/input_ids" not in capture or "tokens/piece" not in capture:
        return None
    row = capture.values("sequence").tolist().index(sequence)
    ids = capture["tokens/input_ids"].isel(sequence=row).values
    return TokenText(
        ids, dict(zip(capture.values("token").tolist(), capture.values("tokens/piece"), strict=True))
    )


def add_text(measured: xr.Dataset, text: TokenText | None) -> xr.Dataset:
    """Label rows and columns of an attention map with the text at their first position.

    Returns
    -------
    The map, with the coordinates ``query_text`` (query, part) and ``key_text`` (key, part) if there is a
    text; a part is the text before the token, the token, the text after it
    """
    if text is None:
        return measured
    labels = {
        f"{side}_text": (
            (side, "part"),
            np.array([text.around(int(at)) for at in measured[side]], dtype=object),
        )
        for side in ("query", "key")
    }
    return measured.assign_coords({**labels, "part": list(PARTS)})

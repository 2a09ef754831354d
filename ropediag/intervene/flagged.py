"""The flagged pairs: those that drift by the analysis of a capture, which must be of the model at hand."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ropediag.errors import ConfigError
from ropediag.intervene.intervention import Pairs, Place
from ropediag.models.load import LoadedModel
from ropediag.store import open_capture


@dataclass(frozen=True, eq=False)
class Flagged:
    """What a capture flags.

    Attributes
    ----------
    path : of the capture
    model, dtype, fingerprint : what the capture says of its model
    pairs : (layer, query head) -> pairs that drift; without the heads that have none
    """

    path: Path
    model: str
    dtype: str
    fingerprint: str
    pairs: Mapping[Place, Pairs]

    def check_model(self, loaded: LoadedModel) -> None:
        """Refuse a model whose weights, or their precision, are not those of the capture.

        Raises
        ------
        ConfigError
        """
        own = loaded.fingerprint()
        if own != self.fingerprint:
            dtype = str(next(loaded.model.parameters()).dtype).removeprefix("torch.")
            raise ConfigError(
                f"{self.path} is of {self.model} (weights {self.fingerprint[:12]}, {self.dtype}), not of "
                f"{loaded.name} (weights {own[:12]}, {dtype}), and flags nothing in it. Capture this "
                "model, in this precision."
            )

    def within(self, everything: Mapping[Place, Pairs]) -> dict[Place, Pairs]:
        """Keep those of the layers and heads that were chosen.

        Raises
        ------
        ConfigError
            If none is left.
        """
        chosen = {place: self.pairs[place] for place in everything if place in self.pairs}
        if not chosen:
            raise ConfigError(f"{self.path} flags no pair in the layers and heads chosen.")
        return chosen


def read_flagged(path: Path) -> Flagged:
    """Find the pairs that drift in a capture.

    Raises
    ------
    ConfigError, FormatError
        If it cannot be read, is no capture, or does not state the training length.
    """
    from ropediag.analysis.drift import flagged_pairs
    from ropediag.analysis.kind import check_capture

    with open_capture(path) as opened:
        check_capture(opened)
        pairs = {place: tuple(sorted(found)) for place, found in flagged_pairs(opened).items()}
        names = ("model", "dtype", "weight_fingerprint")
        model, dtype, fingerprint = (str(opened.attrs.get(name, "unknown")) for name in names)
        return Flagged(path, model, dtype, fingerprint, pairs)

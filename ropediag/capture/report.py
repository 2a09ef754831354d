"""What a capture tells while it runs; the base class is silent, the command line shows it."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ropediag.capture.estimate import Estimate
    from ropediag.capture.plan import CapturePlan


class Reporter:
    """Override what you want to hear of.

    Attributes
    ----------
    timed : whether ``starting`` is to be told how many seconds it will take, which takes a short pilot
    """

    timed = False

    def note(self, line: str) -> None:
        """The model or its text is read in a way that one should know of."""

    def starting(self, name: str, plan: "CapturePlan", estimate: "Estimate") -> None:
        """The model is loaded and understood; this is what the capture will need."""

    def layer_done(self, sequence: int, layer: int) -> None:
        """One layer of one sequence is measured and on the disk."""

    def loss_done(self, sequence: int) -> None:
        """One sequence is complete."""

    def writing(self, path: Path) -> None:
        """All is measured; the units become one file."""

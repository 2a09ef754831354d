"""What capture and demo show on a terminal: what will be needed, progress, and the first look."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ropediag.capture.report import Reporter

if TYPE_CHECKING:
    from ropediag.analysis.glance import Glance
    from ropediag.capture.estimate import Estimate
    from ropediag.capture.plan import CapturePlan


class TerminalReporter(Reporter):
    """Results on stdout; progress on stderr, a bar on a terminal and plain lines otherwise.

    Silent if ``quiet``.
    """

    timed = True

    def __init__(self, quiet: bool = False) -> None:
        self.console, self._stderr = (_console(quiet, stderr) for stderr in (False, True))
        self._progress: Progress | None = None
        self._done = self._total = 0

    def note(self, line: str) -> None:
        self.console.print(line)

    def starting(self, name: str, plan: "CapturePlan", estimate: "Estimate") -> None:
        pairs = plan.rotation.spec.inv_freq.shape[1]
        self.console.print(
            f"{name}: {len(plan.layers)} layers x {len(plan.heads)} heads x {pairs} pairs, "
            f"{plan.sequences} x {plan.length:,} tokens; base {plan.history.base:g}"
        )
        for line in plan.history.describe():
            self.console.print(line)
        seconds = "" if estimate.seconds is None else f"about {format_seconds(estimate.seconds)}, "
        self.console.print(
            f"needs {seconds}{estimate.memory / 2**20:,.0f} MiB of memory "
            f"beside the model, {estimate.disk / 2**20:,.1f} MiB on disk"
        )
        if plan.length <= plan.history.trained:
            self.console.print(
                f"note: {plan.length:,} tokens are within the {plan.history.trained:,} of training"
            )
        self._total = plan.sequences * (len(plan.layers) + 1)
        if self._stderr.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
            timing = (TimeElapsedColumn(), TimeRemainingColumn())
            self._progress = Progress(*columns, *timing, console=self._stderr)
            self._progress.start()
            self._progress.add_task("sequence 0", total=self._total)

    def layer_done(self, sequence: int, layer: int) -> None:
        self._step(f"sequence {sequence}, layer {layer}")

    def loss_done(self, sequence: int) -> None:
        self._step(f"sequence {sequence}, loss")

    def writing(self, path: Path) -> None:
        self.close()

    def close(self) -> None:
        """Take the bar off the screen."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _step(self, what: str) -> None:
        self._done += 1
        if self._progress is None:
            self._stderr.print(f"{self._done} of {self._total}: {what}")
        else:
            self._progress.update(self._progress.task_ids[0], completed=self._done, description=what)


def _console(quiet: bool, stderr: bool) -> Console:
    return Console(
        stderr=stderr, highlight=False, soft_wrap=True, markup=False, quiet=quiet
    )  # names hold brackets


def format_seconds(seconds: float) -> str:
    """Write a duration the way one says it."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def describe_interrupted(path: Path) -> str:
    """Write what an interrupted capture left of the file ``path``, and how to resume it."""
    from ropediag.store import summarize
    from ropediag.store.folder import Folder

    folder = Folder.beside(path)
    if not folder.header.is_file():
        return "nothing was saved yet."
    partial = folder.path
    summary = summarize(partial)
    parts = summary.sizes["sequence"] * (summary.sizes["layer"] + 1)
    left = len(summary.missing_layers) + len(summary.missing_losses)
    return f"{parts - left} of {parts} parts are in {partial}; the same command with --resume goes on."


def print_glance(console: Console, path: Path) -> None:
    """Say where the model breaks, where theory says it must, and what to do next."""
    from ropediag.analysis.angle_note import note_angle_error
    from ropediag.analysis.glance import glance
    from ropediag.store import open_capture

    with open_capture(path) as capture:
        found, note = glance(capture), note_angle_error(capture)
        attributes = capture.attrs
    length = int(attributes["length"])
    reach = (
        f"{length / found.trained:.3g} x its training length"
        if found.trained
        else "training length not known"
    )
    console.print()
    console.print(
        f"{attributes.get('model', 'a model')} at {length:,} tokens, {reach}",
        style="bold",
    )
    for line in _describe_theory(found):
        console.print(line)
    console.print(f"  measured  {_measured_line(found, length)}")
    if found.excess:
        values = ", ".join(f"{value:+.2f} at {multiple:g} x" for multiple, value in found.excess)
        console.print(f"  excess    nats by multiple of the training length: {values}")
    for shift in (found.before, found.past):
        if shift is not None and shift.last >= shift.first:
            console.print(
                f"  pairs {shift.first} to {shift.last}: mean logit {shift.inside:+.2f} within the training "
                f"length, {shift.beyond:+.2f} beyond it; largest move of a head {shift.largest:.1f} std"
            )
    for part in found.stale:
        console.print(f"  note      {STALE[part]}")
    if note:
        console.print(f"  note      {note}")


STALE = {
    "partial": "the joint logits are split at the pair that was critical when they were measured",
    "loss/nll_windowed": "the windows of the excess loss are not as long as the longest phase: capture again "
    "to measure it in such windows",
}


def _describe_theory(found: "Glance") -> list[str]:
    """Write critical pair, predicted limit and first reach."""
    if found.predicted is None:
        return ["  theory    the training length is not known"]
    limit = f"predicted limit {found.predicted.describe()}"
    if found.predicted.value is None:
        limit = f"no predicted limit: {found.predicted.law}"
    first = ""
    if found.first_reach is not None:
        first = f"; first reach {found.first_reach:,.0f} tokens, a lower bound"
    critical = f"critical pair {found.critical_pair} (dimension {2 * found.critical_pair})"
    return [f"  theory    {critical}; {limit}{first}"]


def _measured_line(found, length: int) -> str:
    measured, predicted = found.measured, found.predicted_limit
    if measured is None:
        return "no windowed loss in this capture, so no excess"
    if measured.position is None:
        return f"the excess loss stays below +{measured.threshold:g} nats at the end, {length:,} tokens"
    interval = f" (95 % interval {measured.low:,} to {measured.high:,})" if measured.low is not None else ""
    ratio = f", {measured.position / predicted:.2f} x the predicted limit" if predicted else ""
    return (
        f"more context does harm from position {measured.position:,}{interval}: excess loss above "
        f"+{measured.threshold:g} nats from there on{ratio}"
    )

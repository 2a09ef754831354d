"""The progress of a Trainer run: a bar on a terminal, plain lines anywhere else, by steps and by time."""

import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import TrainerCallback

PERIOD = 20.0  # seconds after which a line is due where there is no terminal; steps may take seconds too


class TrainingProgress(TrainerCallback):
    """Shows steps and loss while a Trainer runs, and keeps the logged losses.

    Parameters
    ----------
    say : callable
        Receives one line for each log entry, and one whenever ``PERIOD`` has passed without, when the console
        is no terminal.
    console : rich Console, optional
        Where a bar is drawn; standard error by default.
    clock : callable
        Gives the time in seconds.

    Attributes
    ----------
    losses : list of (step, nats per token)
        Means over the steps since the entry before.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.say = say
        self.clock = clock
        self.console = console or Console(stderr=True)
        self.losses: list[tuple[int, float]] = []
        self._bar: Progress | None = None

    def on_train_begin(self, args, state, control, **kwargs) -> None:
        self._begun, self._first, self._said = self.clock(), state.global_step, self.clock()
        if not self.console.is_terminal:
            self.say(f"training: {state.max_steps:,} steps")
        else:
            self._bar = Progress(
                TextColumn("training"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[loss]}"),
                TimeRemainingColumn(),
                console=self.console,
            )
            self._bar.add_task("training", total=state.max_steps, loss="")
            self._bar.start()

    def on_step_end(self, args, state, control, **kwargs) -> None:
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=state.global_step)
        elif self.clock() - self._said >= PERIOD:
            self._say_step(state, self._time_left(state))

    def on_log(self, args, state, control, logs=None, **kwargs) -> None:
        if not logs or "loss" not in logs:
            return
        self.losses.append((state.global_step, float(logs["loss"])))
        loss = f"loss {float(logs['loss']):.3f} nats"
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], loss=loss)
        else:
            self._say_step(state, loss)

    def _say_step(self, state, what: str) -> None:
        self._said = self.clock()
        self.say(f"step {state.global_step:,} of {state.max_steps:,}, {what}")

    def _time_left(self, state) -> str:
        """Estimate the time left from the steps of this run, in words."""
        pace = (self.clock() - self._begun) / (state.global_step - self._first)
        seconds = pace * (state.max_steps - state.global_step)
        return f"about {seconds:.0f} s left" if seconds < 100 else f"about {seconds / 60:,.0f} min left"

    def on_train_end(self, args, state, control, **kwargs) -> None:
        self.close()

    def close(self) -> None:
        """Take the bar down; nothing happens if there is none."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

"""The progress of a Trainer run: a bar on a terminal, plain lines anywhere else."""

from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import TrainerCallback


class TrainingProgress(TrainerCallback):
    """Shows steps and loss while a Trainer runs, and keeps the logged losses.

    Parameters
    ----------
    say : callable
        Receives one line for each log entry when the console is no terminal.
    console : rich Console, optional
        Where a bar is drawn; standard error by default.

    Attributes
    ----------
    losses : list of (step, nats per token)
        Means over the steps since the entry before.
    """

    def __init__(self, say: Callable[[str], None], console: Console | None = None) -> None:
        self.say = say
        self.console = console or Console(stderr=True)
        self.losses: list[tuple[int, float]] = []
        self._bar: Progress | None = None

    def on_train_begin(self, args, state, control, **kwargs) -> None:
        if self.console.is_terminal:
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

    def on_log(self, args, state, control, logs=None, **kwargs) -> None:
        if not logs or "loss" not in logs:
            return
        self.losses.append((state.global_step, float(logs["loss"])))
        loss = f"loss {float(logs['loss']):.3f} nats"
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], loss=loss)
        else:
            self.say(f"step {state.global_step} of {state.max_steps}, {loss}")

    def on_train_end(self, args, state, control, **kwargs) -> None:
        self.close()

    def close(self) -> None:
        """Take the bar down; nothing happens if there is none."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

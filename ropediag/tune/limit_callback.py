"""Watch a model's limit move while any Hugging Face Trainer trains it."""

import sys
from collections.abc import Sequence
from types import FrameType
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from transformers import TrainerCallback
from transformers.trainer_callback import CallbackHandler

from ropediag.analysis.limit import THRESHOLD, measure_limit
from ropediag.checkpoint import TrainingFlags, resolve_training
from ropediag.config_class import list_entries
from ropediag.errors import ConfigError
from ropediag.models.inputs import bos_id
from ropediag.models.loss import decode, nll_by_position, nll_windowed
from ropediag.prediction import predict_training
from ropediag.text import find_leading
from ropediag.theory.phases import PhaseSpec, TrainingHistory
from ropediag.theory.training import Training


class LimitCallback(TrainerCallback):
    """Logs the measured limit beside the predicted one, every few steps and at the end.

    The Trainer's log, and all that it reports to (``report_to``: TensorBoard, W&B, ...), gets
    ``limit_measured`` (tokens; absent while the excess stays below the threshold), ``limit_predicted``
    (tokens; absent where the law gives none), ``limit_first_reach`` (tokens, a lower bound; absent where no
    lag turns a pair to an unseen angle) and ``excess_at_end`` (nats, mean over the last quarter of the
    positions). The excess is over windows as long as the longest phase of training. Works in any Trainer,
    ours or yours::

        trainer = Trainer(model=model, args=arguments, train_dataset=windows)
        trainer.add_callback(LimitCallback(held_out_ids, train_len=4096, every=200))
        trainer.train()

    Parameters
    ----------
    input_ids : (sequence, position) integer array, held out; longer than the limit to be seen
    train_len : tokens a sequence in pretraining; what the model's config states if None
    pretrain_base : base of pretraining; the model's own if None
    tune_len : tokens a sequence in this training; ``train_len`` if None
    phases : all of training, oldest first, the last one this training, in place of the three before
    every : steps between measurements
    threshold : nats of excess that count as the limit
    tokenizer : the model's; the Trainer's ``processing_class`` if None. If all sequences begin with the
        special tokens that it puts before a text, so do the windows

    Raises
    ------
    ConfigError
        If both ``phases`` and numbers state the training, or the sequences are no longer than its longest
        phase; also in ``measure`` and as training begins, where the model's config states the phase.
    """

    def __init__(
        self,
        input_ids: Int[np.ndarray, "sequence position"],
        train_len: int | None = None,
        pretrain_base: float | None = None,
        tune_len: int | None = None,
        every: int = 100,
        threshold: float = THRESHOLD,
        tokenizer: Any | None = None,
        phases: Sequence[PhaseSpec] = (),
    ) -> None:
        self.flags = TrainingFlags(
            train_len, train_len if tune_len is None else tune_len, pretrain_base, tuple(phases)
        )
        self.input_ids = input_ids
        self._check_length(max([train_len or 0, tune_len or 0, *(phase.length for phase in phases)]))
        self.every = every
        self.threshold = threshold
        self.tokenizer = tokenizer
        self._pending: dict[str, float] = {}

    def on_train_begin(self, args, state, control, model=None, processing_class=None, **kwargs) -> None:
        if model is not None:
            self._check_length(self._find_history(model).trained)
        if self.tokenizer is None and hasattr(processing_class, "convert_ids_to_tokens"):
            self.tokenizer = processing_class
        _move_to_front(self)

    def on_step_end(self, args, state, control, model=None, **kwargs) -> None:
        if state.global_step % self.every == 0 or state.global_step == state.max_steps:
            self._pending = self.measure(model)
            control.should_log = True

    def on_log(self, args, state, control, logs=None, **kwargs) -> None:
        if logs is not None and self._pending:
            logs |= self._pending
            state.log_history[-1] |= self._pending
            self._pending = {}

    def measure(self, model: Any) -> dict[str, float]:
        """Measure the model as it is; its training mode is as before afterwards."""
        training, trained = model.training, self._find_history(model).trained
        self._check_length(trained)
        model.eval()
        try:
            device = next(model.parameters()).device
            leading = find_leading(self.input_ids, self.tokenizer, bos_id=bos_id(model)).count
            excess = []
            for sequence in self.input_ids:
                ids = torch.as_tensor(sequence, dtype=torch.long, device=device)
                full = nll_by_position(model, ids[None], decode(model, ids[None]))[0]
                excess.append(full - nll_windowed(model, ids, trained, leading=leading))
        finally:
            model.train(training)
        curves = np.stack(excess)
        position, shown = measure_limit(curves, trained, self.threshold).position, self.training(model)
        found = {
            "limit_measured": position,
            "limit_predicted": shown.predicted_limit().value,
            "limit_first_reach": shown.first_reach(),
        }
        last = curves[:, 3 * curves.shape[1] // 4 :]
        return {name: float(value) for name, value in found.items() if value is not None} | {
            "excess_at_end": float(last.mean())
        }

    def predict(self, model: Any) -> float | None:
        """Compute the law's limit for the rotation that the model has, tokens; None where it gives none."""
        return self.training(model).predicted_limit().value

    def training(self, model: Any) -> Training:
        """Compute what the phases showed the layers, which turn as in a pass of the sequences' length."""
        length = self.input_ids.shape[1]
        return predict_training(list_entries(model.config), self._find_history(model), length)

    def _find_history(self, model: Any) -> TrainingHistory:
        return resolve_training(self.flags, {}, list_entries(model.config))

    def _check_length(self, trained: int) -> None:
        """Refuse sequences within the longest phase of training, tokens."""
        if self.input_ids.shape[1] <= trained:
            raise ConfigError(
                f"sequences of {self.input_ids.shape[1]} tokens cannot show a limit past the longest phase "
                f"of training, {trained} tokens: pass longer ones."
            )


def _move_to_front(callback: TrainerCallback) -> None:
    """Put a callback before the reporters of the Trainer that calls it, so that they log what it adds.

    A Trainer calls its reporters before callbacks that the user adds, and tells none of them who calls; the
    handler that holds them all is in a calling frame. Moving one during the call skips no other.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        handler = frame.f_locals.get("self")
        if isinstance(handler, CallbackHandler) and callback in handler.callbacks:
            handler.callbacks.remove(callback)
            handler.callbacks.insert(0, callback)
            return
        frame = frame.f_back

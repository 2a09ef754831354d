"""Watch a model's limit move while any Hugging Face Trainer trains it."""

import sys
from types import FrameType
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from transformers import TrainerCallback
from transformers.trainer_callback import CallbackHandler

from ropediag.analysis.limit import THRESHOLD, measure_limit
from ropediag.config_class import read_widest
from ropediag.errors import ConfigError
from ropediag.limits import extrapolation_limit
from ropediag.models.inputs import bos_id
from ropediag.models.loss import decode, nll_by_position, nll_windowed
from ropediag.text import find_leading


class LimitCallback(TrainerCallback):
    """Logs the measured limit beside the predicted one, every few steps and at the end.

    The Trainer's log, and all that it reports to (``report_to``: TensorBoard, W&B, ...), gets
    ``limit_measured`` (tokens; absent while the excess stays below the threshold), ``limit_predicted``
    (tokens; absent where the law gives none) and ``excess_at_end`` (nats, mean over the last quarter of the
    positions). Works in any Trainer, ours or yours::

        trainer = Trainer(model=model, args=arguments, train_dataset=windows)
        trainer.add_callback(LimitCallback(held_out_ids, train_len=4096, every=200))
        trainer.train()

    Parameters
    ----------
    input_ids : (sequence, position) integer array, held out; longer than the limit to be seen
    train_len : tokens a sequence in pretraining
    pretrain_base : base of pretraining; the model's own if None
    tune_len : tokens a sequence in this training; ``train_len`` if None
    every : steps between measurements
    threshold : nats of excess that count as the limit
    tokenizer : the model's; the Trainer's ``processing_class`` if None. If all sequences begin with the
        special tokens that it puts before a text, so do the windows of ``train_len`` tokens

    Raises
    ------
    ConfigError
        If the sequences are no longer than ``train_len``.
    """

    def __init__(
        self,
        input_ids: Int[np.ndarray, "sequence position"],
        train_len: int,
        pretrain_base: float | None = None,
        tune_len: int | None = None,
        every: int = 100,
        threshold: float = THRESHOLD,
        tokenizer: Any | None = None,
    ) -> None:
        if input_ids.shape[1] <= train_len:
            raise ConfigError(
                f"sequences of {input_ids.shape[1]} tokens cannot show a limit past train_len {train_len}: "
                "pass longer ones."
            )
        self.input_ids = input_ids
        self.train_len = train_len
        self.pretrain_base = pretrain_base
        self.tune_len = tune_len
        self.every = every
        self.threshold = threshold
        self.tokenizer = tokenizer
        self._pending: dict[str, float] = {}

    def on_train_begin(self, args, state, control, processing_class=None, **kwargs) -> None:
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
        training = model.training
        model.eval()
        try:
            device = next(model.parameters()).device
            leading = find_leading(self.input_ids, self.tokenizer, bos_id=bos_id(model)).count
            excess = []
            for sequence in self.input_ids:
                ids = torch.as_tensor(sequence, dtype=torch.long, device=device)
                full = nll_by_position(model, ids[None], decode(model, ids[None]))[0]
                excess.append(full - nll_windowed(model, ids, self.train_len, leading=leading))
        finally:
            model.train(training)
        curves = np.stack(excess)
        position = measure_limit(curves, self.train_len, self.threshold).position
        predicted = self.predict(model)
        found = {"limit_measured": position, "limit_predicted": predicted}
        last = curves[:, 3 * curves.shape[1] // 4 :]
        return {name: float(value) for name, value in found.items() if value is not None} | {
            "excess_at_end": float(last.mean())
        }

    def predict(self, model: Any) -> float | None:
        """Compute the law's limit for the base that the model has, tokens; None where it gives none."""
        layer = read_widest(model.config)
        return extrapolation_limit(
            layer.rotary_dim, layer.base, self.pretrain_base or layer.base, self.train_len, self.tune_len
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

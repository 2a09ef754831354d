"""The models of an evaluation, checked: they read these tokens, and say on what they were trained."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ropediag.checkpoint import METADATA, NO_FLAGS, TrainingFlags
from ropediag.errors import ConfigError
from ropediag.evaluate.prompts import MakePrompt, recall_tasks
from ropediag.models.devices import input_device
from ropediag.models.inputs import bos_id, check_ids, read_training, run_plain
from ropediag.models.kind import vocabulary_size
from ropediag.models.load import LoadedModel
from ropediag.models.loss import nll_windowed
from ropediag.text import Leading, find_leading
from ropediag.theory.phases import TrainingHistory

PREFIX = 64  # tokens of the first, trying pass


@dataclass(frozen=True, eq=False)
class Reader:
    """A model that has passed its checks, with the length it is at home in.

    Attributes
    ----------
    loaded : the model
    training : base and length of its training
    leading : special tokens with which the sequences begin, and its windows too
    """

    loaded: LoadedModel
    training: TrainingHistory
    leading: Leading

    @property
    def home(self) -> int:
        """Tokens of the longest sequences it was trained on."""
        return self.training.trained

    def windowed(
        self, ids: Int[Tensor, "sequence position"], window: int
    ) -> Float[np.ndarray, "sequence position"]:
        """Loss with fewer than ``window`` tokens of context, nats."""
        rows = torch.unbind(ids.to(input_device(self.loaded.model)))
        return np.stack(
            [nll_windowed(self.loaded.model, row, window, leading=self.leading.count) for row in rows]
        )

    def recall_tasks(self, ids: np.ndarray) -> dict[str, MakePrompt]:
        """List the recall tasks it can be given, name -> maker; ids (sequence, position) hide the facts."""
        first, text = np.split(ids, [self.leading.count], axis=1)
        return recall_tasks(
            self.loaded.tokenizer, vocabulary_size(self.loaded.model), text.reshape(-1), first[0]
        )


def check_reader(
    loaded: LoadedModel,
    ids: np.ndarray,
    flags: TrainingFlags,
    bos: bool | None = None,
) -> tuple[Reader, Int[Tensor, "sequence position"]]:
    """Refuse a model that cannot read these tokens; ``bos`` is as in ``find_leading``.

    Returns
    -------
    The model with its training, and the tokens on its device

    Raises
    ------
    ConfigError, ModelError
    """
    check_ids(ids, loaded.model)
    leading = find_leading(ids, loaded.tokenizer, bos, bos_id(loaded.model))
    reader = Reader(loaded, read_training(loaded, flags), leading)
    input_ids = torch.tensor(ids, device=input_device(loaded.model))
    run_plain(loaded.model, input_ids[:1, :PREFIX])
    return reader, input_ids


def check_parent(parent: LoadedModel, child: Reader, ids: np.ndarray) -> Reader:
    """Refuse a parent that does not read the child's tokens.

    What it does not say of its own pretraining, which is the child's too, is taken from the child.

    Raises
    ------
    ConfigError, ModelError
    """
    sizes = [vocabulary_size(each.model) for each in (parent, child.loaded)]
    words = [each.tokenizer.get_vocab() for each in (parent, child.loaded) if each.tokenizer is not None]
    if sizes[0] != sizes[1] or (len(words) == 2 and words[0] != words[1]):
        raise ConfigError(
            f"{parent.name} is no parent of {child.loaded.name}: their vocabularies differ, so their "
            "losses do not compare. Name the checkpoint that it was tuned from."
        )
    recorded = parent.directory is not None and (parent.directory / METADATA).is_file()
    flags = NO_FLAGS if recorded else TrainingFlags(phases=child.training.phases[:1])
    reader = check_reader(parent, ids, flags)[0]
    return replace(reader, leading=child.leading)

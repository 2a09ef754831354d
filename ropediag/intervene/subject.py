"""The subject of an ablation: one model with its tokens, and its loss untouched or under an intervention."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ropediag.intervene.apply import intervene
from ropediag.intervene.config import AblateConfig
from ropediag.intervene.intervention import Intervention
from ropediag.intervene.pair_set import PairSet
from ropediag.models.load import LoadedModel
from ropediag.models.loss import decode, nll_by_position
from ropediag.models.rotation import Rotation
from ropediag.theory.phases import TrainingHistory
from ropediag.theory.training import Training

Loss = Float[np.ndarray, "sequence position"]


@dataclass(frozen=True, eq=False)
class Subject:
    """A model under study, with all that does not change from set to set."""

    loaded: LoadedModel
    ids: Int[Tensor, "sequence position"]
    rotation: Rotation
    training: TrainingHistory
    shown: Training
    config: AblateConfig

    def intervention(self, chosen: PairSet, multiple: float | None = None) -> Intervention:
        """Return the intervention that was asked for, on these pairs, at a multiple of their reach."""
        return self.config.intervention(chosen, self.training.train_len, multiple)

    def loss(self, ids: Int[Tensor, "sequence position"] | None = None) -> Loss:
        """Loss by position, sequence by sequence, in whatever state the model is."""
        model, rows = self.loaded.model, torch.split(self.ids if ids is None else ids, 1)
        return np.concatenate([nll_by_position(model, row, decode(model, row)) for row in rows])

    def changed_loss(
        self,
        chosen: PairSet,
        ids: Int[Tensor, "sequence position"] | None = None,
        multiple: float | None = None,
    ) -> Loss:
        """Loss by position under the intervention on these pairs, at a multiple of their reach."""
        change = self.intervention(chosen, multiple)
        with intervene(self.loaded.model, change, rotation=self.rotation):
            return self.loss(ids)

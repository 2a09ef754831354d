"""What a file records of the model behind its numbers: root attributes of ``schema.ATTRIBUTES``."""

import importlib.metadata
from datetime import UTC, datetime

import torch

from ropediag.models.load import LoadedModel
from ropediag.theory.phases import TrainingHistory
from ropediag.theory.record import describe_history


def describe_model(loaded: LoadedModel, training: TrainingHistory) -> dict[str, str | int | float]:
    """Name model, weights, device, versions, base and length of training, and the time."""
    parameter = next(loaded.model.parameters())
    return {
        "ropediag_version": importlib.metadata.version("ropediag"),
        "torch_version": str(torch.__version__),
        "transformers_version": importlib.metadata.version("transformers"),
        "model": loaded.name,
        "architecture": loaded.model.config.model_type,
        "weight_fingerprint": loaded.fingerprint(),
        "device": torch.cuda.get_device_name(parameter.device) if parameter.is_cuda else "cpu",
        "dtype": str(parameter.dtype).removeprefix("torch."),
        **({"commit": loaded.commit} if loaded.commit else {}),
        **({"dtype_reason": loaded.dtype_reason} if loaded.dtype_reason else {}),
        "attention": loaded.model.config._attn_implementation,
        **describe_history(training),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }

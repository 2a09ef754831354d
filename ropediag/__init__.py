"""ropediag: where, when and why a RoPE model breaks past its training length.

Every public name is loaded when first used, so that ``import ropediag`` costs nothing and reading a
capture never loads torch.
"""

import importlib
import importlib.metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ropediag.attribution import AttributeConfig, attribute_checkpoint, attribute_model
    from ropediag.capture import capture_checkpoint, capture_model
    from ropediag.config import CaptureConfig
    from ropediag.evaluate import EvaluateConfig, evaluate_checkpoint, evaluate_model
    from ropediag.intervene import AblateConfig, Intervention, ablate_checkpoint, ablate_model
    from ropediag.models.load import load_model
    from ropediag.prediction import predict
    from ropediag.rope import RopeSpec
    from ropediag.store import Capture, open_capture
    from ropediag.tune.limit_callback import LimitCallback
    from ropediag.tune.tune import tune_model
    from ropediag.tune.tune_config import TuneConfig

    __version__: str

_HOMES = {
    "AblateConfig": "ropediag.intervene",
    "AttributeConfig": "ropediag.attribution",
    "Capture": "ropediag.store",
    "CaptureConfig": "ropediag.config",
    "EvaluateConfig": "ropediag.evaluate",
    "Intervention": "ropediag.intervene",
    "LimitCallback": "ropediag.tune.limit_callback",
    "RopeSpec": "ropediag.rope",
    "TuneConfig": "ropediag.tune.tune_config",
    "ablate_checkpoint": "ropediag.intervene",
    "ablate_model": "ropediag.intervene",
    "attribute_checkpoint": "ropediag.attribution",
    "attribute_model": "ropediag.attribution",
    "capture_checkpoint": "ropediag.capture",
    "capture_model": "ropediag.capture",
    "evaluate_checkpoint": "ropediag.evaluate",
    "evaluate_model": "ropediag.evaluate",
    "load_model": "ropediag.models.load",
    "open_capture": "ropediag.store",
    "predict": "ropediag.prediction",
    "tune_model": "ropediag.tune.tune",
}

__all__ = [
    "AblateConfig",
    "AttributeConfig",
    "Capture",
    "CaptureConfig",
    "EvaluateConfig",
    "Intervention",
    "LimitCallback",
    "RopeSpec",
    "TuneConfig",
    "__version__",
    "ablate_checkpoint",
    "ablate_model",
    "attribute_checkpoint",
    "attribute_model",
    "capture_checkpoint",
    "capture_model",
    "evaluate_checkpoint",
    "evaluate_model",
    "load_model",
    "open_capture",
    "predict",
    "tune_model",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.metadata.version("ropediag")
    if name not in _HOMES:
        raise AttributeError(f"module 'ropediag' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)

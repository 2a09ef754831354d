"""Attribution: the excess loss of unseen angles in nats, split over layers, heads, rotary pairs and lags.

``gates`` is the attention whose pairs contribute more or less of what lies beyond their limit, which ``far``
computes, ``passes`` runs a model with it forwards and backwards, ``path`` and ``walk`` integrate from limited
lags to the model as it is, ``points`` keeps what was measured, ``estimate`` tells the cost, ``layout`` and
``result`` hold what came out, ``run`` puts it together. Names load on first use.

Source: integrated gradients (Sundararajan, Taly and Yan 2017, arXiv:1703.01365), in game theory the
Aumann-Shapley value.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ropediag.attribution.config import AttributeConfig
    from ropediag.attribution.result import Attribution
    from ropediag.attribution.run import attribute_checkpoint, attribute_model

_HOME = {
    "AttributeConfig": "config",
    "Attribution": "result",
    "attribute_checkpoint": "run",
    "attribute_model": "run",
}

__all__ = ["AttributeConfig", "Attribution", "attribute_checkpoint", "attribute_model"]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)

"""Capture: from a model and tokens to one HDF5 file."""

from ropediag.capture.report import Reporter
from ropediag.capture.run import capture_checkpoint, capture_model, estimate_checkpoint

__all__ = ["Reporter", "capture_checkpoint", "capture_model", "estimate_checkpoint"]

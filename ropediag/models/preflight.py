"""Preflight checks of a run: what its settings, JSON files and the disk tell before torch is imported.

Each command calls ``check_inputs`` before it imports what loads torch, and each ``*_checkpoint`` function
calls it again, for callers from Python. What takes the tokenizer or the weights is checked where these are
read.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ropediag.checkpoint import flags_of, read_checkpoint, resolve_training
from ropediag.config import CaptureConfig
from ropediag.config_class import complete_config
from ropediag.errors import CaptureError, ConfigError, ModelError
from ropediag.models.directory import find_directory, short_name
from ropediag.rope_config import HEADS, LayerRope, read_layers, text_part
from ropediag.store import check_name
from ropediag.store.folder import Folder
from ropediag.store.guard import check_writable
from ropediag.text import check_paths, load_tokens

DEVICE = re.compile(r"auto|map|cpu|cuda(:\d+)?|mps")


def check_inputs(config: Any, *, writes: bool = True) -> None:
    """Refuse a run that cannot work, as far as that is known without torch.

    Parameters
    ----------
    config : ``CaptureConfig``, ``EvaluateConfig`` or ``AblateConfig``
    writes : whether the run is to write its file

    Raises
    ------
    ConfigError, ModelError, CaptureError
        If an input is missing, the output cannot be written, the device has no such name, the model is
        neither a folder nor a hub id, its config or ``ropediag.json`` contradicts the settings, or there is
        no such layer or head.
    """
    if writes and isinstance(config, CaptureConfig):
        check_capture_file(capture_file(config), config.force, config.resume)
    elif writes and config.out is not None:
        check_name(config.out, config.force)
    given = (config.tokens, getattr(config, "capture", None))
    check_paths([*config.text, *(path for path in given if path is not None)])
    if config.tokens is not None:
        load_tokens(config.tokens, config.length, config.sequences)
    check_device(config.device)
    directory = find_directory(config.model, config.allow_pickle)
    if getattr(config, "parent", None) is not None:
        find_directory(config.parent, config.allow_pickle)
    if directory is None:
        return
    if config.revision is not None:
        raise ConfigError(
            f"revision {config.revision!r} names a branch, tag or commit on the hub, and {config.model} does "
            "not come from there: leave it out."
        )
    check_settings(directory.name, *read_checkpoint(directory), config)


def check_device(device: str) -> None:
    """Refuse a device that has no such name.

    Raises
    ------
    ConfigError
    """
    if not DEVICE.fullmatch(device):
        raise ConfigError(f"device must be auto, cpu, cuda, cuda:N, mps or map: got {device!r}.")


def capture_file(config: CaptureConfig) -> Path:
    """Return the file that a capture writes: by default named after model and length, in ``captures``."""
    return config.out or Path("captures") / f"{short_name(config.model)}-{config.length}.h5"


def check_capture_file(path: Path, force: bool, resume: bool) -> None:
    """Refuse a name that a capture cannot be written under.

    Raises
    ------
    CaptureError
    """
    for taken in (path, Folder.beside(path).path):
        if taken.exists() and not (force or resume):
            raise CaptureError(
                f"{taken} exists. Choose another name with --out, replace it with --force, or resume an "
                "interrupted capture with --resume."
            )
    check_writable(path)


def check_settings(name: str, stated: Mapping[str, Any], metadata: Mapping[str, Any], config: Any) -> None:
    """Check the settings of a run against the model's config and ``ropediag.json``.

    Raises
    ------
    ConfigError, ModelError, CaptureError
        As ``check_inputs``.
    """
    complete = complete_config(stated)
    layers = read_layers(complete)
    check_even_rotation(name, layers)
    resolve_training(flags_of(config), metadata, complete)
    _check_indices("layer", getattr(config, "layers", None), len(layers))
    text = text_part(complete)
    heads = next((int(text[name]) for name in HEADS if text.get(name)), None)
    kept = getattr(config, "keep_qk", ())
    _check_indices("layer", sorted({layer for layer, _ in kept}), len(layers))
    if heads is not None:
        _check_indices("head", [*(getattr(config, "heads", None) or ()), *(head for _, head in kept)], heads)


def check_even_rotation(name: str, layers: Sequence[LayerRope]) -> None:
    """Refuse heads of which an odd number of dimensions rotates.

    Raises
    ------
    ModelError
        Naming the model and the layer.
    """
    for index, layer in enumerate(layers):
        if layer.rotary_dim % 2:
            raise ModelError(
                f"{name}, layer {index}: rotary_dim must be a positive even number: got {layer.rotary_dim}. "
                "Two dimensions form one rotary pair; correct its config.json."
            )


def _check_indices(kind: str, wanted: Sequence[int] | None, count: int) -> None:
    missing = [index for index in wanted or () if index >= count]
    if missing:
        raise CaptureError(f"the model has no {kind} {missing[0]}: its {kind}s are 0 to {count - 1}.")

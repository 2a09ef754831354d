"""Load a decoder from a local directory or the hub, and refuse what would give wrong numbers.

Weights come from safetensors unless pickle is asked for; no code of the checkpoint runs. A checkpoint
whose weights do not fit its config, or hold NaN, is refused here, before anything is measured.
"""

import hashlib
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ropediag.checkpoint import read_checkpoint
from ropediag.config_class import complete_config, first_statement, quiet_transformers
from ropediag.errors import ConfigError, ModelError, RopediagError
from ropediag.models.compute_type import widen_weights
from ropediag.models.devices import open_parameters
from ropediag.models.directory import find_directory, short_name
from ropediag.models.finite import all_finite
from ropediag.models.hub import find_on_hub
from ropediag.models.kernels import settle_kernels
from ropediag.models.kind import auto_class
from ropediag.models.preflight import check_even_rotation
from ropediag.models.ranks import check_division
from ropediag.rope_config import read_layers

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A decoder ready to run: in evaluation mode, on its device.

    Attributes
    ----------
    model : the transformers model, with its language-model head
    tokenizer : the checkpoint's tokenizer, None if it has none
    name : what to call it in files and messages
    directory : the local checkpoint directory, None for a hub model
    dtype_reason : why its weights are not of the checkpoint's type; empty where they are
    stored_fingerprint : of the weights as stored, where their type was changed; None where it was not
    commit : of a hub model; what was asked for where only the local cache could be read
    """

    model: Any
    tokenizer: Any | None
    name: str
    directory: Path | None
    dtype_reason: str = ""
    stored_fingerprint: str | None = None
    commit: str | None = None

    def fingerprint(self) -> str:
        """Hash the weights as they are stored, so that it is the same on every machine."""
        return self.stored_fingerprint or fingerprint_weights(self.model)


def load_model(
    source: str,
    *,
    revision: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    attention: str | None = None,
    allow_pickle: bool = False,
    changes: Mapping[str, Any] | None = None,
    processes: int = 1,
    tokenizer: Any | None = None,
) -> LoadedModel:
    """Load weights and tokenizer.

    Parameters
    ----------
    source : local checkpoint directory, hub id, or ``demo`` for the bundled model
    revision : branch, tag or commit on the hub
    device : ``auto`` (CUDA if there is one), ``cpu``, ``cuda``, ``cuda:1``, ..., or ``map``: layers over all
        devices, the rest on CPU and disk, as transformers' ``device_map="auto"`` places them
    dtype : ``auto`` (as in the checkpoint, unless a CPU computes faster in float32: ``widen_weights``),
        ``float32``, ``bfloat16`` or ``float16``
    attention : transformers' ``attn_implementation``; None leaves the model its default
    allow_pickle : also read ``pytorch_model.bin``, which can run code of its author
    changes : entries of the config to replace before the model is built
    processes : that torchrun started to share the model, each a slice of every layer by the model's
        tensor-parallel plan, each on a device of its own
    tokenizer : of the model, where ``load_tokenizer`` has read it

    Raises
    ------
    ModelError
        If there is no such model, or its weights are missing, unfit, pickled or not finite.
    """
    settle_kernels()
    directory = find_directory(source, allow_pickle)
    if processes > 1 and device != "auto":
        raise ConfigError(
            f"{processes} processes share the model, each with a device of its own: leave out --device "
            f"{device}."
        )
    if processes > 1:
        check_division(load_config(source, revision=revision)[0], processes)
    target = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    placed = device == "map" or processes > 1
    if not placed:
        _move(torch.empty(0), target)  # a device that is not there is found before gigabytes are read
    if directory:
        _check_rotation(directory)
    location = str(directory) if directory else source
    hub = {} if directory else find_on_hub(source, revision)
    shared = {**hub, "trust_remote_code": False}
    model, report = _read_weights(
        location,
        dtype="auto" if dtype == "auto" else DTYPES[dtype],
        use_safetensors=not allow_pickle or None,
        ignore_mismatched_sizes=True,  # they are named, and refused, below
        **({"attn_implementation": attention} if attention else {}),
        **({"device_map": "auto"} if device == "map" else {}),
        **({"distributed_config": _share_heads(processes)} if processes > 1 else {}),
        **(changes or {}),
        **shared,
    )
    _check_weights(source, model, report)
    reason, fingerprint = "", None
    if dtype == "auto" and not placed and torch.device(target).type == "cpu":
        stored, before = fingerprint_weights(model), model.dtype
        reason = widen_weights(model)
        fingerprint = stored if model.dtype != before else None
    model = model if placed else _move(model, target)
    return LoadedModel(
        model.eval(),
        tokenizer or _read_tokenizer(location, **shared),
        short_name(source),
        directory,
        dtype_reason=reason,
        stored_fingerprint=fingerprint,
        commit=hub.get("revision"),
    )


def _share_heads(processes: int) -> Any:
    from transformers.distributed import DistributedConfig

    return DistributedConfig(tp_size=processes, tp_plan="auto")


def load_tokenizer(source: str, *, revision: str | None = None) -> Any | None:
    """Load a model's tokenizer alone; None where it has none that loads.

    Raises
    ------
    ModelError
        If there is no such model.
    """
    directory = find_directory(source, allow_pickle=True, need_weights=False)
    hub = {} if directory else find_on_hub(source, revision)
    return _read_tokenizer(str(directory or source), trust_remote_code=False, **hub)


def load_config(source: str, *, revision: str | None = None) -> tuple[Any, Path | None]:
    """Load a model's configuration alone, and find its directory, None for a hub model.

    No weights need be there.

    Raises
    ------
    ModelError
        If there is no such model, or its configuration cannot be read.
    """
    from transformers import AutoConfig

    directory = find_directory(source, allow_pickle=True, need_weights=False)
    location = str(directory) if directory else source
    hub = {} if directory else find_on_hub(source, revision)
    try:
        with quiet_transformers():
            return AutoConfig.from_pretrained(location, trust_remote_code=False, **hub), directory
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"cannot load {source}: {first_statement(error)}") from error


def _check_rotation(directory: Path) -> None:
    """Refuse heads of which an odd number of dimensions rotates; what else a config lacks is said later."""
    try:
        layers = read_layers(complete_config(read_checkpoint(directory)[0]))
    except ConfigError:
        return
    check_even_rotation(directory.name, layers)


def _read_weights(location: str, **options: Any) -> tuple[Any, dict[str, Any]]:
    from transformers import AutoConfig

    names = ("revision", "local_files_only", "trust_remote_code")
    stated = {name: options[name] for name in names if name in options}
    try:
        with quiet_transformers():
            kind = auto_class(AutoConfig.from_pretrained(location, **stated))
            return kind.from_pretrained(location, output_loading_info=True, **options)
    except RopediagError:
        raise
    except pickle.UnpicklingError as error:
        raise ModelError(f"cannot load {location}: its pickle holds more than tensors. Refused.") from error
    except Exception as error:  # a config and weights from anywhere, in the hands of other packages
        raise ModelError(f"cannot load {location}: {first_statement(error)}") from error


def _check_weights(source: str, model: Any, report: dict[str, Any]) -> None:
    """Refuse weights that are missing, of the wrong shape or not finite."""
    mismatched = sorted(key[0] if isinstance(key, tuple) else key for key in report["mismatched_keys"])
    for trouble, keys in (("misses", sorted(report["missing_keys"])), ("has other shapes for", mismatched)):
        head = model.get_output_embeddings()
        named = {name for name, part in model.named_parameters() if head is not None and part is head.weight}
        if keys and set(keys) == named:
            raise ModelError(
                f"{source} holds a base model without a language-model head ({keys[0]} is missing), so there "
                "is no loss to measure. Give the checkpoint of the causal language model."
            )
        if keys:
            shown = ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")
            raise ModelError(
                f"the weights of {source} do not fit its config: the checkpoint {trouble} {shown}."
            )
    check_finite(source, model)


def check_finite(source: str, model: nn.Module) -> None:
    """Refuse weights that hold NaN or infinity, naming the first.

    Raises
    ------
    ModelError
    """
    for name, parameter in open_parameters(model):
        if not all_finite(parameter):
            raise ModelError(f"the weights of {source} are not finite: NaN or infinity first in {name}.")


def _move(model: Any, device: str) -> Any:
    try:
        return model.to(device)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"cannot use device {device}: {first_statement(error)}") from error


def _read_tokenizer(location: str, **options: Any) -> Any | None:
    """Load the tokenizer; None where the checkpoint has none that loads."""
    from transformers import AutoTokenizer

    try:
        with quiet_transformers():
            return AutoTokenizer.from_pretrained(location, **options)
    except Exception:  # transformers and its parts raise types of their own
        return None


def fingerprint_weights(model: nn.Module, samples: int = 1024) -> str:
    """Hash names, shapes, types and evenly spaced values of all parameters: the same model, the same hash."""
    digest = hashlib.sha256()
    for name, parameter in open_parameters(model, sorted(name for name, _ in model.named_parameters())):
        digest.update(f"{name} {tuple(parameter.shape)} {parameter.dtype}".encode())
        flat = parameter.detach().flatten()
        step = max(1, flat.numel() // samples)
        digest.update(flat[::step].double().cpu().numpy().tobytes())
    return digest.hexdigest()

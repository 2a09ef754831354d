"""The directory of a checkpoint, which may come from a stranger: looked at before transformers reads it."""

import json
import re
from pathlib import Path

from ropediag.errors import ModelError


def find_directory(source: str, allow_pickle: bool, need_weights: bool = True) -> Path | None:
    """Find the checkpoint directory, None for a hub id; say what is wrong with a directory.

    Raises
    ------
    ModelError
        If there is none, or it holds what is refused.
    """
    if source == "demo":
        from ropediag.assets import demo_model

        return demo_model()
    path = _find_path(source)
    if path is None:
        if re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", source):
            return None
        raise ModelError(
            f"no model at {source}: no such folder, and no hub id. Give a checkpoint directory (with "
            "config.json and *.safetensors), a hub id such as org/name, or demo for the bundled model."
        )
    if not path.is_dir():
        raise ModelError(f"{source} is a file. Give the checkpoint directory that holds config.json.")
    if not (path / "config.json").is_file():
        raise ModelError(f"{source} holds no config.json, so it is no Hugging Face checkpoint directory.")
    if need_weights:
        _check_weights(path, source, allow_pickle)
    return path


def short_name(source: str) -> str:
    """Name a checkpoint directory or hub id by its last part."""
    path = _find_path(source)
    return source.split("/")[-1] if path is None else path.resolve().name


def _find_path(source: str) -> Path | None:
    """Return the path that exists under this name; None for any other text, however long."""
    try:
        path = Path(source).expanduser()
        return path if path.exists() else None
    except (OSError, RuntimeError, ValueError):  # a name that no file can have, or of no user
        return None


def _check_weights(path: Path, source: str, allow_pickle: bool) -> None:
    """Refuse weights that are pickle, that lie elsewhere, or that are only a change of another model's.

    Where there are safetensors, they are what is read: the index of a pickled twin is of no concern.
    """
    if (path / "adapter_config.json").is_file():
        raise ModelError(
            f"{source} holds an adapter (adapter_config.json), which is read together with another model. "
            "Merge the two (peft: merge_and_unload), save the result, and give that."
        )
    safe = (path / "model.safetensors", path / "model.safetensors.index.json")  # read before any pickle
    for index in path.glob("*.safetensors.index.json" if any(map(Path.is_file, safe)) else "*.index.json"):
        for name in sorted(_read_parts(index)):
            if name != Path(name).name or not name.endswith((".safetensors", ".bin")):
                raise ModelError(
                    f"{index} names {name!r} as part of the weights: no file beside it. Refused."
                )
            if name.endswith(".bin") and not allow_pickle:
                raise _refuse_pickle(source)
    if any(path.glob("*.safetensors")):
        return
    if not any(path.glob("*.bin")):
        raise ModelError(f"{source} holds no weights: no *.safetensors beside its config.json.")
    if not allow_pickle:
        raise _refuse_pickle(source)


def _read_parts(index: Path) -> set[str]:
    """Read which files an index of weights names."""
    try:
        parts = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{index} is no index of weights: it holds no weight_map.") from error
    return {str(part) for part in parts}


def _refuse_pickle(source: str) -> ModelError:
    return ModelError(
        f"{source} holds its weights as pickle (*.bin), which can run code of its author. Convert them to "
        "safetensors, or pass --allow-pickle if you trust where they come from."
    )

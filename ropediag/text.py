"""Token sequences of a given length, from text files, from token files or from the bundled text.

What comes out is always (sequence, position) int64. Sequences from a text are disjoint and start at
seeded places, so that they can stand as replicates of one another. Each begins with the special tokens
that the tokenizer puts before a text (BOS in most models that have one): a model that was trained with
them is another one without. NumPy only; the tokenizer is whatever the caller has, a Hugging Face one as a
rule.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ropediag.assets import held_out_text
from ropediag.errors import ConfigError


def check_paths(paths: Sequence[Path]) -> None:
    """Refuse an input that does not exist, before anything is loaded for it.

    Raises
    ------
    ConfigError
    """
    for path in paths:
        if not path.exists():
            raise ConfigError(f"cannot read {path}: there is no such file or folder.")


def read_text(paths: Sequence[Path] | None) -> str:
    """Read and join UTF-8 text.

    Parameters
    ----------
    paths : sequence of files and folders, or None
        A folder stands for every file below it that is UTF-8 text, in the order of their paths, hidden
        files and folders left out. None is the bundled held-out text.

    Raises
    ------
    ConfigError
        If a path does not exist, a file that was named is not UTF-8 text, or a folder holds no text.
    """
    return "".join(read_documents([held_out_text()] if paths is None else paths))


def read_documents(paths: Sequence[Path]) -> list[str]:
    """Read UTF-8 text, file by file; paths and errors as in ``read_text``."""
    return [text for path in paths for text in (_read_folder(path) if path.is_dir() else [_read_path(path)])]


def read_token_sequences(
    paths: Sequence[Path] | None,
    tokenizer: Any,
    length: int,
    sequences: int,
    seed: int,
    bos: bool | None = None,
) -> np.ndarray:
    """Cut disjoint token sequences from text, at seeded places.

    Parameters
    ----------
    paths : sequence of files and folders, or None
        As in ``read_text``.
    tokenizer : Hugging Face tokenizer
    length : int, tokens, >= 1
        Leading special tokens are among them.
    sequences : int, >= 1
    seed : int, >= 0
        The same seed gives the same sequences; the places are uniform over all that leave them
        disjoint.
    bos : bool, optional
        Whether sequences begin with leading special tokens; by default where the tokenizer has some.

    Returns
    -------
    (sequence, position) int64 array, in the text's order

    Raises
    ------
    ConfigError
        If the text is too short for that many sequences; it says how many tokens there are. If leading
        special tokens are wanted and the tokenizer has none.
    """
    _check_shape(length, sequences)
    leading = leading_tokens(tokenizer, bos)
    room = length - leading.size
    if room < 1:
        raise ConfigError(f"length must be above {leading.size}, the leading special tokens: got {length}.")
    tokens = tokenize(read_text(paths), tokenizer)
    spare = tokens.size - sequences * room
    if spare < 0:
        special = " behind the special tokens" if leading.size else ""
        raise ConfigError(
            f"the text has {tokens.size} tokens, and {sequences} x {room} = {sequences * room} were "
            f"wanted{special}: pass more text, fewer sequences or a smaller length."
        )
    starts = np.sort(np.random.default_rng(seed).integers(0, spare + 1, sequences))
    starts += room * np.arange(sequences)
    return np.hstack([np.tile(leading, (sequences, 1)), tokens[starts[:, None] + np.arange(room)]])


def leading_tokens(tokenizer: Any, bos: bool | None = None) -> np.ndarray:
    """Find the special tokens that a tokenizer puts before a text: most often none, or BOS alone.

    Those that it puts behind a text (EOS) do not count: a sequence is cut from the middle of a text.

    Parameters
    ----------
    tokenizer : Hugging Face tokenizer
    bos : False for none, True to require some, None for what the tokenizer does

    Returns
    -------
    (token,) int64 array, token ids

    Raises
    ------
    ConfigError
        If some are required and the tokenizer puts none.
    """
    found: list[int] = []
    if bos is not False:
        plain, whole = (
            list(tokenizer("a", add_special_tokens=special, verbose=False)["input_ids"])
            for special in (False, True)
        )
        places = range(len(whole) - len(plain) + 1) if plain else ()
        start = next((place for place in places if whole[place : place + len(plain)] == plain), 0)
        found = whole[:start]
    if bos and not found:
        raise ConfigError("the model's tokenizer puts no special token before a text: leave out --bos.")
    return np.array(found, dtype=np.int64)


@dataclass(frozen=True)
class Leading:
    """The special tokens with which all sequences of a run begin, and so all windows of them must.

    Attributes
    ----------
    count : how many
    name : their text, such as ``<bos>``; empty if there are none
    note : one line that says how sequences begin; empty where the tokenizer has no leading special tokens
    """

    count: int = 0
    name: str = ""
    note: str = ""


def find_leading(
    ids: np.ndarray, tokenizer: Any | None, bos: bool | None = None, bos_id: int | None = None
) -> Leading:
    """Find the leading special tokens of sequences, read from a text or given by the user.

    Parameters
    ----------
    ids : (sequence, position) array
    tokenizer : Hugging Face tokenizer; without one, only ``bos_id`` is known to be special
    bos : as in ``leading_tokens``
    bos_id : what the model's config calls BOS

    Raises
    ------
    ConfigError
        If they are required, and the tokenizer has none or a sequence does not begin with them.
    """
    if tokenizer is None:
        if bos:
            raise ConfigError("the model has no tokenizer that says how a text begins: leave out --bos.")
        if bos is None and ids.shape[1] > 1 and bool((ids[:, 0] == bos_id).all()):
            name = f"token {bos_id}"
            return Leading(1, name, f"every sequence and every window begins with {name}, BOS by the config")
        return Leading()
    known = leading_tokens(tokenizer, bos or None)
    if not known.size:
        return Leading()
    name = " ".join(tokenizer.convert_ids_to_tokens(known.tolist()))
    begin = ids.shape[1] > known.size and bool((ids[:, : known.size] == known).all())
    if bos and not begin:
        raise ConfigError(
            f"the token ids do not begin with {name}, as the model's tokenizer begins a text. Ids that are "
            "given are not changed: put it there, or leave out --bos."
        )
    if begin and bos is not False:
        note = f"every sequence and every window begins with {name}, as the model's tokenizer begins a text"
        return Leading(known.size, name, note)
    if begin:
        return Leading(note=f"every sequence begins with {name}, and no window of it does")
    return Leading(note=f"read without {name}, with which the model's tokenizer begins a text")


def load_tokens(path: Path, length: int, sequences: int) -> np.ndarray:
    """Load token ids from a ``.npy`` file.

    Parameters
    ----------
    path : Path
        A (position,) array, cut into consecutive sequences, or a (sequence, position) array, of which
        the first sequences and positions are taken. Any integer type; ids >= 0.
    length : int, tokens, >= 1
    sequences : int, >= 1

    Returns
    -------
    (sequence, position) int64 array

    Raises
    ------
    ConfigError
        If the file is no array of token ids or holds too few of them.
    """
    _check_shape(length, sequences)
    try:
        ids = np.load(path, allow_pickle=False)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}.") from error
    except (ValueError, EOFError) as error:  # numpy's words advise to unpickle what is no array
        raise ConfigError(
            f"{path} is not a .npy file of token ids. Write one with numpy.save(path, ids), whole numbers."
        ) from error
    if not isinstance(ids, np.ndarray) or ids.dtype.kind not in "iu" or ids.ndim not in (1, 2):
        found = f"{ids.ndim} axes of {ids.dtype}" if isinstance(ids, np.ndarray) else type(ids).__name__
        raise ConfigError(f"{path} must hold integers on one or two axes: got {found}.")
    if ids.ndim == 1 and ids.size >= sequences * length:
        ids = ids[: sequences * length].reshape(sequences, length)
    if ids.ndim == 1 or ids.shape[0] < sequences or ids.shape[1] < length:
        raise ConfigError(
            f"{path} holds {' x '.join(map(str, ids.shape))} tokens, and {sequences} x {length} were wanted: "
            "pass fewer sequences or a smaller length."
        )
    ids = ids[:sequences, :length]
    if ids.min() < 0 or ids.max() > np.iinfo(np.int64).max:
        raise ConfigError(f"{path} holds token ids from {ids.min()} to {ids.max()}: an id is at least 0.")
    return np.ascontiguousarray(ids, dtype=np.int64)


def hash_tokens(ids: np.ndarray) -> str:
    """Hash token ids: SHA-256 of the shape and the ids as little-endian int64, the same on any machine."""
    digest = hashlib.sha256(f"{ids.shape}".encode())
    digest.update(np.ascontiguousarray(ids, dtype="<i8").tobytes())
    return digest.hexdigest()


def tokenize(text: str, tokenizer: Any) -> np.ndarray:
    """Tokenize a text as a whole, without special tokens.

    A text is never cut into pieces: many tokenizers put a space before whatever they are given, and a cut
    may fall within a word.

    Returns
    -------
    (position,) int64 array, token ids
    """
    return np.asarray(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"], dtype=np.int64)


def _read_path(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read the text {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}.") from error


def _read_folder(folder: Path) -> list[str]:
    found = []
    for file in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
        if hidden or not file.is_file():
            continue
        content = file.read_bytes()
        if b"\0" not in content:
            try:
                found.append(content.decode("utf-8"))
            except UnicodeDecodeError:
                continue  # no text: a folder may hold pictures and archives too
    if not found:
        raise ConfigError(f"the folder {folder} holds no UTF-8 text files.")
    return found


def _check_shape(length: int, sequences: int) -> None:
    for name, value in {"length": length, "sequences": sequences}.items():
        if value < 1:
            raise ConfigError(f"{name} must be at least 1: got {value}.")

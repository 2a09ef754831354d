"""A seal over every byte of a finished file: names, shapes, attributes, data and HDF5's own tables.

fletcher32 covers the data of a chunk and nothing else; a flipped bit in HDF5's tables may lead to other
numbers or crash the library. So a finished file ends with a digest of all that stands before it, which is
checked before HDF5 sees the file. HDF5 ignores what follows its own end. A change by other programs loses
the seal. It proves that nothing was damaged, not where a file comes from.
"""

import hashlib
import io
import os
from pathlib import Path
from typing import Any, BinaryIO

from ropediag import schema
from ropediag.errors import FormatError
from ropediag.store.inspect import CheckedFile, Stored, open_file, read_attributes

MAGIC = b"ropediag seal 1\n"
DIGEST = hashlib.sha256().digest_size
SIZE = len(MAGIC) + 8 + DIGEST  # magic, length of what is sealed, digest
_PIECE = 2**22  # bytes read at a time
_MOST = 4096  # files that are remembered
Mark = tuple[int, ...]  # device, inode, size and times of change of a file
_KNOWN: dict[Mark, bool] = {}  # files whose seal was looked for: whether there is one, and it is right
_STORED: dict[Mark, dict[str, Stored]] = {}  # what sealed files hold, once it was checked


def make_seal(length: int, digest: bytes) -> bytes:
    """Build the seal of content of this length in bytes and this digest."""
    return MAGIC + length.to_bytes(8, "little") + digest


def seal_of(file: BinaryIO | io.RawIOBase) -> bytes:
    """The seal of everything a file holds, read from its start; one in memory too."""
    length = file.seek(0, io.SEEK_END)
    return make_seal(length, _digest(file, length))


def check_seal(path: Path, name: str) -> bool:
    """Whether the file ends with a seal.

    A file found whole is not read again until it changes.

    Raises
    ------
    FormatError
        If the seal is not that of the bytes before it.
    """
    return _check_seal(path, name)[1]


def _check_seal(path: Path, name: str) -> tuple[Mark, bool]:
    try:
        with open(path, "rb") as file:
            state = os.fstat(file.fileno())
            mark = (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
            right = _KNOWN[mark] if mark in _KNOWN else _has_right_seal(file, name)
    except OSError as error:  # it may go away while we look
        raise FormatError(f"{name} cannot be read: {error.strerror}.") from error
    _remember(_KNOWN, mark, right)
    return mark, right


def _remember(memory: dict[Mark, Any], mark: Mark, value: Any) -> None:
    if len(memory) >= _MOST and mark not in memory:
        memory.clear()
    memory[mark] = value


def _digest(file: BinaryIO | io.RawIOBase, length: int) -> bytes:
    """Digest of the first ``length`` bytes."""
    found = hashlib.sha256()
    file.seek(0)
    while length and (piece := file.read(min(_PIECE, length))):
        found.update(piece)
        length -= len(piece)
    return found.digest()


def _has_right_seal(file: BinaryIO, name: str) -> bool:
    length = file.seek(0, io.SEEK_END) - SIZE
    if length < 0:
        return False
    file.seek(length)
    seal = file.read(SIZE)
    if not seal.startswith(MAGIC):
        return False
    if seal != make_seal(length, _digest(file, length)):
        raise FormatError(
            f"{name} is damaged: its bytes are not those that were sealed when it was written. Copy it again "
            "from where it came, or make it anew."
        )
    return True


def seal_file(path: Path) -> None:
    """Seal a file anew that was changed on purpose; one that has a right seal stays as it is.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    with open(path, "r+b") as file:
        try:
            if _has_right_seal(file, str(path)):
                return
        except FormatError:
            file.truncate(file.seek(0, io.SEEK_END) - SIZE)
        seal = seal_of(file)
        file.seek(0, io.SEEK_END)
        file.write(seal)


def open_sealed(path: Path, name: str) -> CheckedFile:
    """Open a finished file for reading, once its seal is found right; older formats have none.

    Raises
    ------
    FormatError
        As ``open_file``; if the seal is missing or wrong.
    """
    mark, sealed = _check_seal(path, name) if path.is_file() else ((), False)
    file = open_file(path, name, _STORED.get(mark))
    try:
        if sealed:
            _remember(_STORED, mark, file.stored)
        elif read_attributes(file, name)["schema_version"] >= schema.SEALED_SINCE:
            raise FormatError(
                f"{name} has lost its seal: it was cut short, or changed by another program after ropediag "
                "wrote it. Copy it again from where it came. If the change was meant, "
                "ropediag.store.seal.seal_file seals it anew."
            )
    except BaseException:
        file.close()
        raise
    return file

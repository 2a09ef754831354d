"""Files that are whole under their name or not there: temporary name, fsync, rename, fsync of the folder."""

import errno
import glob
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from ropediag.errors import CaptureError

TEMPORARY = ".tmp"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # what a full disk says
_FULL = ("No space left", "PytorchStreamWriter failed writing", "iostream error")  # torch says no more


def publish(path: Path, image: bytes) -> None:
    """Write a whole file so that ``path`` never holds a part of it.

    Raises
    ------
    CaptureError
        If the disk is full or refuses; nothing is left behind.
    """
    temporary = temporary_name(path)
    try:
        with writing(path, len(image)):
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            try:
                write_all(descriptor, image)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.replace(temporary, path)
            sync_folder(path.parent)
    except BaseException:
        with suppress(OSError):  # a file system that refuses this too must not hide the first error
            temporary.unlink(missing_ok=True)
        raise


def publish_alone(path: Path, content: bytes | str) -> None:
    """Write a whole file as ``publish`` does, and remove what killed processes left of it before.

    Raises
    ------
    CaptureError
        As ``publish``.
    """
    for old in path.parent.glob(f".{glob.escape(path.name)}.*{TEMPORARY}"):
        if not _is_alive(old.name.removesuffix(TEMPORARY).rpartition(".")[2]):
            old.unlink(missing_ok=True)
    publish(path, content.encode() if isinstance(content, str) else content)


def _is_alive(number: str) -> bool:
    """Whether a process of this number runs; what is no number is not ours to judge."""
    return not number.isdecimal() or psutil.pid_exists(int(number))


def temporary_name(path: Path) -> Path:
    """Name the file in the same folder that becomes ``path`` once it is whole."""
    return path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY}")


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write every byte: ``os.write`` may take fewer, on a disk that fills up for example."""
    view = memoryview(data)
    while len(view):
        view = view[os.write(descriptor, view[: 1 << 24]) :]


def sync_folder(folder: Path) -> None:
    """Make a rename in the folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def writing(path: Path, size: int) -> Iterator[None]:
    """Turn the operating system's refusal to write ``size`` bytes of ``path`` into a CaptureError."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise CaptureError(
                f"no space left to write {path}: it needs {size / 2**20:.1f} MiB, "
                f"{free_space(path.parent) / 2**20:.1f} MiB are free ({error.strerror})."
            ) from error
        raise CaptureError(f"cannot write {path}: {error.strerror or error}.") from error


def says_full(error: Exception) -> bool:
    """Whether an error of a library that writes by itself means a full disk, or came of one that does."""
    link: BaseException | None = error
    while link is not None:
        if any(words in str(link) for words in _FULL):
            return True
        link = link.__cause__ or link.__context__
    return False


def free_space(folder: Path) -> int:
    """Ask how many bytes a user may still write in the folder's file system."""
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize

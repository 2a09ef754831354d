"""Writing HDF5 so that neither a kill nor a full disk leaves half a file behind.

HDF5 crashes the process when a write fails, and a kill leaves it unreadable. So a small file is built
in memory and written at once (``disk.publish``). A large file goes through ``GuardedFile``, which keeps a
failed write from HDF5 and reports it afterwards.
"""

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ropediag.store.disk import write_all

LIBVER = ("earliest", "v110")  # h5py's own "latest" writes objects that netCDF and HDF5 1.10 cannot open
Attributes = Mapping[str, str | int | float]


def build_image(arrays: Mapping[str, np.ndarray], attributes: Attributes) -> bytes:
    """Build the HDF5 file of one unit in memory: its arrays and attributes."""
    with h5py.File("unit", "w", driver="core", backing_store=False, libver=LIBVER, track_order=True) as file:
        for path, array in arrays.items():
            dtype = h5py.string_dtype() if array.dtype == object else array.dtype
            file.create_dataset(path, data=array, dtype=dtype)
        file.attrs.update(attributes)
        file.flush()
        return file.id.get_file_image()


class GuardedFile(io.RawIOBase):
    """A file that HDF5 writes through; its first failure is kept in ``error``, HDF5 sees success.

    What comes after the failure is held in memory, so that HDF5 reads back what it wrote: it crashes
    over a file that forgets. Ask ``check`` between writes and after HDF5 has closed: it raises what
    went wrong.
    """

    def __init__(self, path: Path) -> None:
        self.error: OSError | None = None
        self._unwritten: list[tuple[int, bytes]] = []
        self._place = 0
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)

    def check(self) -> None:
        """Raise the first OSError that a write met."""
        if self.error is not None:
            raise self.error

    def append(self, data: bytes) -> None:
        """Write behind everything else, once HDF5 has closed the file."""
        self.seek(0, io.SEEK_END)
        self.write(data)

    def sync(self) -> None:
        """Bring everything written to the disk."""
        self.check()
        os.fsync(self._descriptor)

    def write(self, data: Any) -> int:
        if self.error is None:
            try:
                os.lseek(self._descriptor, self._place, io.SEEK_SET)
                write_all(self._descriptor, data)
            except OSError as error:
                self.error = error
        if self.error is not None:
            self._unwritten.append((self._place, bytes(data)))
        self._place += len(data)
        return len(data)

    def readinto(self, buffer: Any) -> int:
        data = os.pread(self._descriptor, len(buffer), self._place).ljust(len(buffer), b"\0")
        buffer[:] = data
        for place, later in self._unwritten:
            first, last = max(place, self._place), min(place + len(later), self._place + len(buffer))
            if first < last:
                buffer[first - self._place : last - self._place] = later[first - place : last - place]
        self._place += len(buffer)
        return len(buffer)

    def truncate(self, size: int | None = None) -> int:
        size = self._place if size is None else size
        if self.error is None:
            try:
                os.ftruncate(self._descriptor, size)
            except OSError as error:
                self.error = error
        return size

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        end = os.fstat(self._descriptor).st_size
        end = max([end, *(place + len(data) for place, data in self._unwritten)])
        self._place = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: end}[whence] + offset
        return self._place

    def tell(self) -> int:
        return self._place

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()

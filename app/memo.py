"""The memo: results and open files that were needed before, the oldest given up first."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any

MEGABYTE = 2**20


class Memo:
    """Keeps what ``make`` returned, by key, up to so many bytes and results; made once, also by two threads.

    Parameters
    ----------
    limit : bytes that the arrays of all results together may take
    size : of one result, in bytes
    most : results: a labelled array takes 50 KB beside its numbers
    """

    def __init__(self, limit: int, size: Callable[[Any], int], most: int = 400) -> None:
        self._limit, self._size, self._most = limit, size, most
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._making: dict[Hashable, Lock] = {}
        self._lock = Lock()

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Give the result of this key, made now if it is not there."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key][0]
            turn = self._making.setdefault(key, Lock())
        with turn:
            with self._lock:
                if key in self._kept:
                    return self._kept[key][0]
            try:
                made = make()
            except BaseException:
                with self._lock:
                    self._making.pop(key, None)
                raise
            with self._lock:
                self._kept[key] = made, self._size(made)
                self._making.pop(key, None)
                while self._is_full() and len(self._kept) > 1:
                    self._kept.popitem(last=False)
        return made

    def _is_full(self) -> bool:
        return len(self._kept) > self._most or sum(size for _, size in self._kept.values()) > self._limit

    def drop(self, outdated: Callable[[Any], bool]) -> None:
        """Give up the results whose keys are outdated."""
        with self._lock:
            for key in [key for key in self._kept if outdated(key)]:
                del self._kept[key]


def count_bytes(result: Any) -> int:
    """Bytes of an array or a Dataset; a small number for anything else."""
    return int(getattr(result, "nbytes", 4096))

"""The memo makes a result once, also for two threads at the same time, and gives up the oldest first."""

import threading
import time

import numpy as np
import pytest

from ropediag.app.memo import Memo, count_bytes


def test_two_threads_that_ask_at_once_share_one_result() -> None:
    made, memo = [], Memo(10**6, count_bytes)

    def make() -> int:
        time.sleep(0.05)
        made.append(1)
        return 7

    got: list[int] = []
    threads = [threading.Thread(target=lambda: got.append(memo.get("key", make))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [7] * 8
    assert len(made) == 1


def test_the_oldest_results_are_given_up_for_new_ones() -> None:
    memo = Memo(3000, count_bytes)
    for key in ("a", "b", "c"):
        memo.get(key, lambda: np.zeros(1000, np.uint8))
    memo.get("a", lambda: pytest.fail("a was kept"))
    memo.get("d", lambda: np.zeros(1000, np.uint8))
    memo.get("a", lambda: pytest.fail("a was used after b"))
    again = []
    memo.get("b", lambda: again.append(1) or np.zeros(1, np.uint8))
    assert again


def test_a_result_that_failed_is_tried_again() -> None:
    memo = Memo(1000, count_bytes)

    def fail() -> None:
        raise ValueError("no result")

    with pytest.raises(ValueError, match="no result"):
        memo.get("key", fail)
    assert memo.get("key", lambda: 3) == 3


def test_only_so_many_results_are_kept_however_small() -> None:
    memo, made = Memo(10**9, count_bytes, most=3), []
    for key in ("a", "b", "c", "a", "d", "a", "b"):
        memo.get(key, lambda key=key: made.append(key))
    assert made == ["a", "b", "c", "d", "b"]

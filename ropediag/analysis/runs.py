"""Runs: rising numbers in words, with those that follow each other drawn together."""

from collections.abc import Iterable


def word_runs(numbers: Iterable[int], to: str = "-", between: str = ", ") -> str:
    """Write rising numbers with runs drawn together: ``0-3, 7``.

    Parameters
    ----------
    to, between : what stands between the ends of a run, and between runs
    """
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1] = [runs[-1][0], number]
        else:
            runs.append([number])
    return between.join(to.join(map(str, run)) for run in runs)

"""Pooling: one layer's sums over several sequences become means, spreads and standard errors.

NumPy only, float64 throughout: a mean may be a hundred times the standard deviation, so nothing is
rounded before the subtraction. Sums come per group of query positions (``schema.REPLICATES`` groups
in a sequence); the groups, or whole sequences once there are as many, are the replicates behind the
standard errors. A bin without query-key pairs is NaN.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

from ropediag.errors import CaptureError
from ropediag.schema import REPLICATES


def replicate_count(sequences: int) -> int:
    """Count the replicates of a capture: its sequences, or eight groups in each if they are fewer."""
    return sequences if sequences >= REPLICATES else sequences * REPLICATES


class LayerPool:
    """The running sums of one layer.

    Holds one (query_head, pair, lag) array of float64 per replicate, and two more.

    Parameters
    ----------
    sequences : int, of the whole capture, pooled already or not: it decides what a replicate is
    """

    def __init__(self, sequences: int) -> None:
        self.sequences = sequences
        self._sums: list[Float[np.ndarray, "query_head pair lag"] | None] = [None] * replicate_count(
            sequences
        )
        self._counts: list[Int[np.ndarray, " lag"] | None] = [None] * replicate_count(sequences)
        self._square: Float[np.ndarray, "query_head pair lag"] | None = None
        self._rest: Float[np.ndarray, "query_head lag"] | None = None

    def add(self, sequence: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Add one sequence.

        Parameters
        ----------
        sequence : int, its place on the sequence axis
        arrays : the raw sums of a layer unit: ``scores/sum`` (query_head, group, pair, lag),
            ``scores/sum_square`` (query_head, pair, lag), ``scores/pair_count`` (group, lag) and,
            where the layer has channels outside every pair, ``scores/rest_sum`` (query_head, lag)

        Raises
        ------
        CaptureError
            If this sequence has other heads or pairs than the ones before it.
        """
        if self._square is not None and self._square.shape != arrays["scores/sum_square"].shape:
            raise CaptureError(
                f"a layer has the same heads and pairs in every sequence: got {self._square.shape} "
                f"(query_head, pair, lag) before and {arrays['scores/sum_square'].shape} now."
            )
        sums, counts = np.moveaxis(arrays["scores/sum"], 1, 0), arrays["scores/pair_count"]
        if self.sequences >= REPLICATES:
            self._sums[sequence], self._counts[sequence] = sums.sum(axis=0), counts.sum(axis=0)
        else:
            for group in range(REPLICATES):
                self._sums[sequence * REPLICATES + group] = sums[group]
                self._counts[sequence * REPLICATES + group] = counts[group]
        square, rest = arrays["scores/sum_square"], arrays.get("scores/rest_sum")
        self._square = square if self._square is None else self._square + square
        if rest is not None:
            self._rest = rest if self._rest is None else self._rest + rest

    def results(
        self, lag: Int[np.ndarray, " lag"], coarse_lag: Int[np.ndarray, " coarse"]
    ) -> dict[str, np.ndarray]:
        """Turn the sums into the pooled variables of the schema, without their layer axis.

        Parameters
        ----------
        lag, coarse_lag : lower edges, tokens; each coarse edge is also a fine one, from the first on

        Returns
        -------
        path -> array: float64, counts int64; empty if nothing was added. ``scores/rest_mean`` only
        if rest sums came in.
        """
        shape = next((sums.shape for sums in self._sums if sums is not None), None)
        if shape is None or self._square is None:
            return {}
        sums = [np.zeros(shape) if part is None else part for part in self._sums]
        counts = [np.zeros(len(lag), dtype=np.int64) if part is None else part for part in self._counts]
        count = np.sum(counts, axis=0)
        mean = divide(np.sum(sums, axis=0), count)
        starts = np.searchsorted(lag, coarse_lag)
        coarse_counts = np.add.reduceat(np.stack(counts), starts, axis=-1)
        coarse_sums = [np.add.reduceat(part, starts, axis=-1) for part in sums]
        pooled = {
            "scores/count": count,
            "scores/mean": mean,
            "scores/std": _spread(self._square, count, mean),
            "scores/mean_se": standard_error(sums, counts, mean),
            "scores/replicate_mean": np.stack(
                [divide(part, number) for part, number in zip(coarse_sums, coarse_counts, strict=True)]
            ),
            "scores/replicate_count": coarse_counts,
        }
        if self._rest is not None:
            pooled["scores/rest_mean"] = divide(self._rest, count)
        return pooled


def _spread(
    square: Float[np.ndarray, "query_head pair lag"],
    count: Int[np.ndarray, " lag"],
    mean: Float[np.ndarray, "query_head pair lag"],
) -> Float[np.ndarray, "query_head pair lag"]:
    """Standard deviation over the query-key pairs of each bin; of a single one exactly zero."""
    variance = np.maximum(0.0, divide(square, count) - mean**2)
    return np.sqrt(np.where(count == 1, 0.0, variance))


def standard_error(
    sums: list[Float[np.ndarray, "query_head pair lag"]],
    counts: list[Int[np.ndarray, " lag"]],
    mean: Float[np.ndarray, "query_head pair lag"],
) -> Float[np.ndarray, "query_head pair lag"]:
    """Estimate the standard error of a mean of pooled replicates of unequal size.

    The pooled mean is a ratio of two sums over replicates, and its linearised variance is
    ``R / (R - 1) * sum_r w_r^2 (m_r - mean)^2`` with ``w_r = n_r / sum n`` over the R replicates that
    have pairs. It counts whatever correlation there is inside a replicate, and assumes none between.

    Parameters
    ----------
    sums, counts : per replicate, the sum of the contributions and the number of query-key pairs
    mean : their ratio over all replicates, logit

    Returns
    -------
    (query_head, pair, lag) array, logit; NaN where fewer than two replicates have pairs

    References
    ----------
    Cochran 1977, Sampling Techniques, chapters 6 (variance of a ratio) and 9A (clusters of unequal size);
    it equals the formula that Gatz & Smith 1995 (Atmospheric Environment 29, 1185) found closest to a
    bootstrap.
    """
    total = np.sum(counts, axis=0)
    replicates = np.sum([number > 0 for number in counts], axis=0)
    variance = np.zeros_like(mean)
    for part, number in zip(sums, counts, strict=True):
        # w_r (m_r - mean) without dividing by n_r, which may be zero
        variance += np.where(number > 0, divide(part - number * mean, total), 0.0) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        correction = np.where(replicates > 1, replicates / (replicates - 1), np.nan)
    return np.sqrt(correction * variance)


def divide(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Divide sums by counts along the last axis: NaN where the count is zero."""
    return total / np.where(count > 0, count, np.nan)

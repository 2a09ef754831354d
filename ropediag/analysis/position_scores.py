"""Position scores: how often the lag alone turns round which of two keys a query prefers."""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Complex, Float, Int

from ropediag.analysis.diagnostic import diagnostic
from ropediag.analysis.heads import key_head_index
from ropediag.analysis.labelled import average, label
from ropediag.errors import ConfigError
from ropediag.rope import RopeSpec
from ropediag.schema import REPLICATES
from ropediag.store import Capture

TRIPLES = 64  # of one head, over all sequences; at least 4 of a sequence
LAGS = 64  # evaluated up to the first reach, and from each reach to the next
ALIKE = 1e-4  # of the products: below it, two keys are the same token and differ by rounding
SEED = 0


@dataclass(frozen=True, eq=False)
class Sweep:
    """The lags to evaluate, and what each counts in the mean over all lags below a reach.

    Attributes
    ----------
    reaches : (reach,) tokens
    lags : (lag,) rising
    weights : (reach, lag), rows sum to 1
    """

    reaches: Int[np.ndarray, " reach"]
    lags: Int[np.ndarray, " lag"]
    weights: Float[np.ndarray, "reach lag"]


@diagnostic(
    question="Does a query keep its preference between two keys, whatever their distance?",
    high="at nearly all lags below the reach the query prefers the key it prefers at lag 0",
    interval="standard error between sequences, with fewer than 8 between triples of a query and two keys",
    source="Wu, Du and Peng 2026, arXiv:2609.39929: 1 - p_rev and g, for a virtual sweep of the lag",
    shows="semantic_score",
)
def measure_position_scores(capture: Capture) -> xr.Dataset:
    """Sweep the lag of sampled queries and keys, and count reversals and changes of their logits.

    A triple is three distinct sampled positions within the training length, drawn with a fixed seed, position
    0 left out; the last is the query. (All sampled positions, where fewer than three are left.) Triples
    whose keys are equal but for rounding, as of the same token, have no preference to reverse and are left
    out. Both keys are placed at the same lag, and the channels that do not rotate take part. Lags are all
    those below the reach, or one at random of each of 64 equal stretches up to the training length and of
    every doubling after it.

    Returns
    -------
    xr.Dataset, by (layer, query_head, reach), each with its ``_se``
        ``semantic_score``: 1 minus the mean share of lags at which the other key wins. ``positional_score``:
        mean change of a logit from one lag to the next, over the length of the vector of its pairs' products.
        NaN where a layer does not rotate.

    Raises
    ------
    ConfigError
        If the capture sampled fewer than three positions.
    """
    train_len, length = capture.window_len, int(capture.attrs["length"])
    generator = np.random.default_rng(SEED)
    triples = draw_triples(capture.values("sample"), train_len, capture.sizes["sequence"], generator)
    sweep = plan_sweep(list_reaches(train_len, length), generator)
    spec, owner = capture.spec(), key_head_index(capture)
    query, key = capture["samples/query"], capture["samples/key"]
    kept = []
    for layer in range(capture.sizes["layer"]):  # one layer in memory at a time
        vectors = query[:, layer].values, key[:, layer].values[:, owner]
        kept.append(_score_layer(*vectors, triples, spec, layer, sweep))
    reach = ("reach", sweep.reaches, {"units": "tokens", "long_name": "reach: all lags below it"})
    axes = {"layer": query.layer, "query_head": query.query_head, "reach": reach}
    dims = ("layer", "sequence", "triple", "query_head", "reach")
    semantic, positional = (
        _average_triples(xr.DataArray(score, axes, dims=dims)) for score in np.stack(kept, axis=1)
    )
    return label(
        {
            "semantic_score": (semantic[0], "1", "Semantic Score, 1 - p_rev: share of lags without reversal"),
            "semantic_score_se": (semantic[1], "1", "standard error of the Semantic Score"),
            "positional_score": (positional[0], "1", "Positional Score, g: change of the logit by one lag"),
            "positional_score_se": (positional[1], "1", "standard error of the Positional Score"),
        }
    )


def _average_triples(scores: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Mean over all triples and its standard error, with the replicates that the interval names."""
    if scores.sizes["sequence"] >= REPLICATES:
        return average(average(scores, "triple")[0], "sequence")
    return average(scores.stack(replicate=("sequence", "triple")), "replicate")


def list_reaches(train_len: int, length: int) -> Int[np.ndarray, " reach"]:
    """List the training length, its doublings and the length, as far as they are not beyond the last."""
    reaches, reach = [], train_len
    while 0 < reach < length:
        reaches.append(reach)
        reach *= 2
    return np.array([*reaches, length])


def plan_sweep(reaches: Int[np.ndarray, " reach"], generator: np.random.Generator) -> Sweep:
    """Choose the lags: all between two reaches if they are few, else one at random of each equal stretch."""
    lags, shares = [], []
    for start, stop in zip([0, *reaches[:-1]], reaches, strict=True):
        edges = np.linspace(start, stop, min(LAGS, stop - start) + 1).astype(int)
        lags.append(generator.integers(edges[:-1], edges[1:]))
        shares.append(np.diff(edges))
    lag, share = np.concatenate(lags), np.concatenate(shares)
    return Sweep(reaches, lag, (lag < reaches[:, None]) * share / reaches[:, None])


def draw_triples(
    samples: Int[np.ndarray, " sample"], train_len: int, sequences: int, generator: np.random.Generator
) -> Int[np.ndarray, "sequence triple 3"]:
    """Draw a query and two keys before it, as places on the sample axis.

    Raises
    ------
    ConfigError
        If there are fewer than three samples.
    """
    places = np.flatnonzero((samples > 0) & (samples < train_len))
    if len(places) < 3:
        places = np.arange(len(samples))
    if len(places) < 3:
        raise ConfigError(
            f"position scores need three sampled positions: got {len(samples)}. Capture a longer text."
        )
    count = max(4, TRIPLES // sequences)
    drawn = generator.permuted(np.broadcast_to(places, (sequences, count, len(places))), axis=-1)[..., :3]
    last = drawn.argmax(-1)
    return np.take_along_axis(drawn, (last[..., None] + np.arange(3)) % 3, axis=-1)  # the last one first


def _score_layer(
    query: Float[np.ndarray, "sequence query_head sample channel"],
    key: Float[np.ndarray, "sequence query_head sample channel"],
    triples: Int[np.ndarray, "sequence triple 3"],
    spec: RopeSpec,
    layer: int,
    sweep: Sweep,
) -> Float[np.ndarray, "2 sequence triple query_head reach"]:
    """Semantic and Positional Score of every triple; ``key`` is that which each query head reads."""
    sequences, heads = query.shape[:2]
    pairs = spec.pair_count(layer)
    if not pairs:
        return np.full((2, *triples.shape[:2], heads, len(sweep.reaches)), np.nan)
    row = np.arange(sequences)[:, None]
    asking = query[row, :, triples[..., 0]]  # (sequence, triple, query_head, channel)
    first, second = spec.channels[layer, :pairs].T
    rest = spec.rest_channels(layer)
    products, constants = [], []
    for place in (1, 2):
        answering = key[row, :, triples[..., place]]
        turning = [part[..., first] + 1j * part[..., second] for part in (asking, answering)]
        products.append(spec.attention_factor[layer] ** 2 * turning[0] * turning[1].conj())
        constants.append((asking[..., rest] * answering[..., rest]).sum(-1))
    frequencies = spec.inv_freq[layer, :pairs]
    contrast, constant = products[0] - products[1], constants[0] - constants[1]
    kept = 1 - share_reversed(contrast, constant, frequencies, sweep)
    apart = np.hypot(np.linalg.norm(contrast, axis=-1), constant)
    size = np.linalg.norm(products[0], axis=-1) + np.linalg.norm(products[1], axis=-1)
    kept = np.where((apart > ALIKE * size)[..., None], kept, np.nan)
    return np.stack([kept, mean_change(products[0], frequencies, sweep)])


def share_reversed(
    products: Complex[np.ndarray, "*any pair"],
    constant: Float[np.ndarray, "*any"],
    inv_freq: Float[np.ndarray, " pair"],
    sweep: Sweep,
) -> Float[np.ndarray, "*any reach"]:
    """Share of the lags below each reach at which a difference of logits has not its sign at lag 0.

    Parameters
    ----------
    products : query times conjugate key, of one key minus the other, as complex numbers by pair
    constant : the same of all channels that do not rotate
    """
    start = products.real.sum(-1) + constant
    difference = _turn(products, inv_freq, sweep.lags)
    difference += constant[..., None].astype(np.float32)
    share = _average((difference < 0) != (start < 0)[..., None], sweep)
    return np.where(np.isnan(start)[..., None], np.nan, share)


def mean_change(
    products: Complex[np.ndarray, "*any pair"], inv_freq: Float[np.ndarray, " pair"], sweep: Sweep
) -> Float[np.ndarray, "*any reach"]:
    """Mean of |logit(lag + 1) - logit(lag)| below each reach, over the length of ``products``."""
    step = products * (np.exp(1j * inv_freq) - 1)
    size = np.linalg.norm(products, axis=-1)[..., None]
    return _average(abs(_turn(step, inv_freq, sweep.lags)), sweep) / np.where(size > 0, size, np.nan)


def _turn(
    products: Complex[np.ndarray, "*any pair"],
    inv_freq: Float[np.ndarray, " pair"],
    lags: Int[np.ndarray, " lag"],
) -> Float[np.ndarray, "*any lag"]:
    """Real part of the sum over pairs of ``products * exp(i lag inv_freq)``: float64 angles, float32 sums."""
    angle = np.multiply.outer(inv_freq, lags)
    basis = np.concatenate([np.cos(angle), -np.sin(angle)]).astype(np.float32)
    vectors = np.concatenate([products.real, products.imag], axis=-1).astype(np.float32)
    turned = vectors.reshape(-1, len(basis)) @ basis  # one product: many small ones wait on a busy machine
    return turned.reshape(*products.shape[:-1], len(lags))


def _average(values: np.ndarray, sweep: Sweep) -> Float[np.ndarray, "*any reach"]:
    """Mean over the lags below each reach of values (..., lag)."""
    flat = values.reshape(-1, len(sweep.lags)).astype(np.float32)
    return (flat @ sweep.weights.T.astype(np.float32)).reshape(*values.shape[:-1], -1).astype(float)

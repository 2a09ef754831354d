"""Rotary geometry: which channels turn together, how fast, and the rotation itself.

NumPy only, float64 throughout. Scaling rules and config files are the business of ``scaling``,
what follows from the periods that of ``limits``. Axis ``pair`` runs from the fastest rotary pair to
the slowest; a pair is two channels, so two dimensions. Angles are radians, periods are tokens.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Complex, Float, Int

from ropediag.errors import ConfigError

LAYOUTS = ("half", "interleaved", "half, reversed", "interleaved, reversed")


def inv_freq(rotary_dim: int, base: float) -> Float[np.ndarray, " pair"]:
    """Compute plain RoPE's frequencies, ``base ** (-2 n / rotary_dim)`` for pair n (arXiv:2104.09864).

    Parameters
    ----------
    rotary_dim : int, dimensions, even: the rotated part of a head, not head_dim
    base : float, > 1, ``rope_theta``

    Returns
    -------
    (rotary_dim / 2,) array, radians per token, falling from 1

    Raises
    ------
    ConfigError
        If ``rotary_dim`` is odd or below 2, or ``base`` is not above 1.
    """
    check_rotary_dim(rotary_dim)
    check_base(base, "base")
    return float(base) ** (-np.arange(0, rotary_dim, 2) / rotary_dim)


def pair_channels(
    layout: str, rotary_dim: int, head_dim: int | None = None, offset: int = 0
) -> Int[np.ndarray, "pair 2"]:
    """List the two channels of each pair.

    Parameters
    ----------
    layout : "half" (n and n + rotary_dim/2: Llama, NeoX) or "interleaved" (2n and 2n + 1: GPT-J, GLM);
        "..., reversed" has the two channels of a pair change places, so that it turns the other way
    rotary_dim : int, dimensions, even
    head_dim : int, dimensions; ``offset + rotary_dim`` if not given
    offset : int, channels before the rotated slice, for models that rotate the last ones (DeepSeek)

    Returns
    -------
    (rotary_dim / 2, 2) array of indices into the head

    Raises
    ------
    ConfigError
        If the layout is unknown or the slice does not fit into the head.
    """
    check_rotary_dim(rotary_dim)
    head_dim = offset + rotary_dim if head_dim is None else head_dim
    if offset < 0 or offset + rotary_dim > head_dim:
        raise ConfigError(
            f"the rotated channels must lie inside the head: got rotary_dim {rotary_dim} from channel "
            f"{offset} on in a head of {head_dim}. Pass a smaller rotary_dim or offset."
        )
    if layout not in LAYOUTS:
        raise ConfigError(f"layout must be one of {LAYOUTS}: got {layout!r}.")
    pairs = np.arange(rotary_dim // 2)
    if layout.startswith("half"):
        channels = offset + np.stack([pairs, pairs + rotary_dim // 2], axis=1)
    else:
        channels = offset + np.stack([2 * pairs, 2 * pairs + 1], axis=1)
    return channels[:, ::-1].copy() if layout.endswith("reversed") else channels


def rotate(
    x: Float[np.ndarray, "*batch position head_dim"],
    positions: Float[np.ndarray, " position"] | Int[np.ndarray, " position"],
    inv_freq: Float[np.ndarray, " pair"],
    channels: Int[np.ndarray, "pair 2"],
    attention_factor: float = 1.0,
) -> Float[np.ndarray, "*batch position head_dim"]:
    """Apply RoPE: turn every pair by position times frequency, and scale it.

    Parameters
    ----------
    x : (..., position, head_dim) array: queries or keys before RoPE
    positions : (position,) array, tokens
    inv_freq, channels : one layer of a RopeSpec; padded pairs (NaN, -1) are left out
    attention_factor : float, multiplies cos and sin; channels outside every pair keep their scale

    Returns
    -------
    Array shaped like ``x``, float64
    """
    real = channels[:, 0] >= 0
    first, second = channels[real].T
    angle = np.asarray(positions, dtype=np.float64)[:, None] * inv_freq[real]
    cos, sin = attention_factor * np.cos(angle), attention_factor * np.sin(angle)
    x = np.asarray(x, dtype=np.float64)
    rotated = x.copy()
    rotated[..., first] = x[..., first] * cos - x[..., second] * sin
    rotated[..., second] = x[..., second] * cos + x[..., first] * sin
    return rotated


def unrotate(
    x: Float[np.ndarray, "*batch position head_dim"],
    positions: Float[np.ndarray, " position"] | Int[np.ndarray, " position"],
    inv_freq: Float[np.ndarray, " pair"],
    channels: Int[np.ndarray, "pair 2"],
    attention_factor: float = 1.0,
) -> Float[np.ndarray, "*batch position head_dim"]:
    """Undo ``rotate`` called with the same arguments: recover queries or keys before RoPE."""
    return rotate(x, -np.asarray(positions), inv_freq, channels, 1.0 / attention_factor)


@dataclass(frozen=True, eq=False)
class RopeSpec:
    """How every layer of a model rotates; validated and made read-only on construction.

    Attributes
    ----------
    inv_freq : (layer, pair) array, radians per token; NaN pads layers with fewer pairs, and a layer
        without RoPE is all NaN; 0 is a pair that never turns
    channels : (layer, pair, 2) array, indices into the head; -1 where padded
    attention_factor : (layer,) array; multiplies cos and sin, so logits get its square
    head_dim : (layer,) array, dimensions
    layout : a label: "half", "interleaved" or another name
    base : float, ``rope_theta``, where known

    Raises
    ------
    ConfigError
        If shapes disagree, a value is out of range, or the padding is not at the end.
    """

    inv_freq: Float[np.ndarray, "layer pair"]
    channels: Int[np.ndarray, "layer pair 2"]
    attention_factor: Float[np.ndarray, " layer"]
    head_dim: Int[np.ndarray, " layer"]
    layout: str
    base: float | None = None

    def __post_init__(self) -> None:
        kinds = {"inv_freq": np.float64, "channels": np.int64, "attention_factor": np.float64}
        for name, kind in {**kinds, "head_dim": np.int64}.items():
            array = np.array(getattr(self, name), dtype=kind)
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        self._check_shapes()
        self._check_values()

    def _check_shapes(self) -> None:
        layers, pairs = self.head_dim.size, self.inv_freq.shape[-1] if self.inv_freq.ndim else 0
        for name, shape in {
            "inv_freq": (layers, pairs),
            "channels": (layers, pairs, 2),
            "attention_factor": (layers,),
            "head_dim": (layers,),
        }.items():
            if getattr(self, name).shape != shape:
                raise ConfigError(
                    f"RopeSpec.{name} must have shape {shape}: got {getattr(self, name).shape}. "
                    "All arrays share their layer and pair axes."
                )

    def _check_values(self) -> None:
        padded = np.isnan(self.inv_freq)
        real = self.inv_freq[~padded]
        used = self.channels[~padded]
        inside = (used >= 0) & (
            used < np.broadcast_to(self.head_dim[:, None], padded.shape)[~padded][:, None]
        )
        faults = {
            "inv_freq must be finite and >= 0": not np.all(_positive(real) | (real == 0)),
            "padding (NaN) must come after the real pairs": bool(np.any(padded[:, :-1] & ~padded[:, 1:])),
            "channels must be -1 exactly where inv_freq is NaN": not np.all(self.channels[padded] == -1),
            "channels must lie inside the head": not np.all(inside),
            "a channel may belong to one pair only": _any_repeated(self.channels, padded),
            "attention_factor must be finite and > 0": not np.all(_positive(self.attention_factor)),
        }
        for claim, broken in faults.items():
            if broken:
                raise ConfigError(f"RopeSpec: {claim}; these arrays break that. Check how they were read.")
        if self.base is not None:
            check_base(self.base, "base")

    def pair_count(self, layer: int) -> int:
        """Count the rotated pairs of a layer; 0 without RoPE."""
        return int(np.sum(~np.isnan(self.inv_freq[layer])))

    @property
    def periods(self) -> Float[np.ndarray, "layer pair"]:
        """Tokens per turn, (layer, pair): inf for a pair that never turns, NaN where padded."""
        with np.errstate(divide="ignore"):
            return 2 * np.pi / self.inv_freq

    def rest_channels(self, layer: int) -> Int[np.ndarray, " channel"]:
        """List the channels of a layer that are not rotated, in order."""
        return np.setdiff1d(np.arange(self.head_dim[layer]), self.channels[layer])


def uniform_spec(
    layers: int,
    head_dim: int,
    inv_freq: Float[np.ndarray, " pair"],
    layout: str,
    *,
    offset: int = 0,
    attention_factor: float = 1.0,
    base: float | None = None,
) -> RopeSpec:
    """Build the RopeSpec of a model whose layers all rotate alike; arguments as for RopeSpec."""
    channels = pair_channels(layout, 2 * len(inv_freq), head_dim, offset)
    rows = np.tile(inv_freq, (layers, 1)), np.tile(channels, (layers, 1, 1))
    factors, sizes = np.full(layers, float(attention_factor)), np.full(layers, head_dim)
    return RopeSpec(*rows, factors, sizes, layout, base)


def check_rotary_dim(rotary_dim: int) -> None:
    """Raise ConfigError unless ``rotary_dim`` is a positive even number."""
    if rotary_dim < 2 or rotary_dim % 2:
        raise ConfigError(
            f"rotary_dim must be a positive even number: got {rotary_dim}. Two dimensions form one "
            "rotary pair; if the model rotates only part of each head, pass that part, not head_dim."
        )


def check_base(base: float, name: str) -> None:
    """Raise ConfigError unless ``base`` is finite and above 1."""
    if not (np.isfinite(base) and base > 1):
        raise ConfigError(
            f"{name} must be a finite number above 1: got {base}. It is the model's rope_theta."
        )


def _positive(values: Float[np.ndarray, "..."]) -> Bool[np.ndarray, "..."]:
    return np.isfinite(values) & (values > 0)


def _any_repeated(channels: Int[np.ndarray, "layer pair 2"], padded: Bool[np.ndarray, "layer pair"]) -> bool:
    rows = (layer[~pad].ravel() for layer, pad in zip(channels, padded, strict=True))
    return any(len(set(row.tolist())) != len(row) for row in rows)


def average_turns(
    inv_freq: Float[np.ndarray, "layer pair"], edges: Int[np.ndarray, " bin"], length: int
) -> Complex[np.ndarray, "layer pair bin"]:
    """Mean of ``exp(i lag inv_freq)`` over all lags of each bin, 0 where padded: a geometric sum."""
    frequency = np.nan_to_num(inv_freq)[..., None]
    stops = np.append(edges[1:], length)
    one = np.exp(1j * frequency) - 1
    total = np.exp(1j * frequency * stops) - np.exp(1j * frequency * edges)
    mean = np.where(one == 0, 1.0, total / np.where(one == 0, 1.0, one) / (stops - edges))
    return np.where(np.isnan(inv_freq)[..., None], 0.0, mean)

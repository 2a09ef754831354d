"""What a model's rotary embedding really does, measured on the model itself.

If every token attends to itself alone, hidden states do not depend on positions. Two short passes
over the same tokens, one with all positions 0 and one with the positions of interest, then differ in
nothing but the rotation of queries and keys, in every layer. Comparing the two gives the pairing of
the channels, which layer turns at which frequencies, and the angle applied, in the model's own data
type and without knowing its architecture.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ropediag.errors import ModelError
from ropediag.models.devices import input_device
from ropediag.models.kernels import settle_kernels
from ropediag.models.kind import vocabulary_size
from ropediag.models.tap import AttentionCall, attention_modules, find_decoder, tap_attention
from ropediag.rope import LAYOUTS, RopeSpec, pair_channels

TOLERANCE = (
    0.05  # relative residual of the right pairing: 1e-6 in float32, 6e-3 in bfloat16; of a wrong one: ~1
)
RESTARTS = frozenset({"recurrent_gemma"})  # position 0 clears the state of its recurrent layers
_PROBES = (1, 2, 3, 5, 9, 17, 40, 100, 333, 1000)  # positions on which pairings are told apart


@dataclass(frozen=True, eq=False)
class Rotation:
    """The measured rotation of every attention layer.

    Attributes
    ----------
    spec : RopeSpec, one row for each attention layer, in order
    layers : (layer,) index of each row's layer in the model
    query_heads, kv_heads : heads of queries and of keys in each layer
    angles : (layer, pair, sample) radians in (-pi, pi], as applied; NaN where there is no such pair
    residual : (layer,) relative distance between the tapped vectors and the spec's prediction of them
    """

    spec: RopeSpec
    layers: Int[np.ndarray, " layer"]
    query_heads: tuple[int, ...]
    kv_heads: tuple[int, ...]
    angles: Float[np.ndarray, "layer pair sample"]
    residual: Float[np.ndarray, " layer"]


@dataclass(frozen=True, eq=False)
class _Candidate:
    """One way a layer may rotate: which channels pair up, how fast they turn."""

    layout: str
    inv_freq: np.ndarray
    channels: np.ndarray
    attention_factor: float


def measure_rotation(model: Any, samples: Int[np.ndarray, " sample"]) -> Rotation:
    """Measure pairing, frequencies and applied angles of every attention layer.

    Parameters
    ----------
    model : a transformers decoder
    samples : (sample,) positions at which the angles are wanted. Include the last position of the
        capture: some scaling rules choose their frequencies by the largest position of a pass.

    Raises
    ------
    ModelError
        If the model has no rotary embedding, or a layer's rotation is none that ropediag knows.
    """
    settle_kernels()
    largest = int(samples.max())
    positions = np.concatenate([[p for p in _PROBES if p <= largest] or [largest], samples])
    origin = int(model.config.model_type in RESTARTS)
    still = _tap_rotated(model, np.full_like(positions, origin))
    turned = _tap_rotated(model, positions + origin)
    frequencies = frequency_tables(model)  # after the pass: dynamic rules have settled by now
    if not frequencies:
        raise ModelError(
            f"{model.config.model_type} has no rotary position embedding: no module of it holds an inv_freq "
            "table. ropediag studies RoPE models only."
        )
    probes = len(positions) - len(samples)
    rows = []
    for layer in sorted(still):
        if not any(vectors.any() for vectors in still[layer]):
            raise ModelError(
                f"{model.config.model_type}, layer {layer}: all queries and keys are zero, so there is no "
                "rotation to measure. Weights before it are zero, or so large that a norm made zero of them."
            )
        best, residual = _identify(still[layer], turned[layer], positions, probes, frequencies)
        if residual > TOLERANCE:
            raise ModelError(
                f"{model.config.model_type}, layer {layer}: the rotation is none that ropediag knows. The "
                f"nearest, {best.layout if best else 'no rotation'}, misses the tapped queries and keys by "
                f"{residual:.0%}. A norm with gains after the rotation (Hunyuan) does that, or a "
                "rule of its own."
            )
        rows.append((layer, best, residual, _applied_angles(still[layer], turned[layer], best)))
    if all(best is None for _, best, _, _ in rows):
        raise ModelError(
            f"{model.config.model_type} has an inv_freq table but rotates in no layer: nothing to study."
        )
    return _assemble(rows, len(samples), still)


def _tap_rotated(model: Any, positions: np.ndarray) -> dict[int, tuple[Tensor, Tensor]]:
    """Run the decoder at the given positions, tokens blind to each other; (head, position, head_dim) each."""
    vectors: dict[int, tuple[Tensor, Tensor]] = {}

    def keep(call: AttentionCall):
        vectors[call.layer] = (call.query[0].double(), call.key[0].double())
        return call.attend_to_self()

    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(vocabulary_size(model), (1, len(positions)), generator=generator)
    device = input_device(model)
    with torch.no_grad(), tap_attention(model, keep):
        find_decoder(model)(
            input_ids=ids.to(device),
            position_ids=torch.as_tensor(positions, device=device)[None],
            use_cache=False,
        )
    if not vectors:
        raise ModelError(
            f"{model.config.model_type} cannot be captured: {len(attention_modules(model))} attention "
            "modules were tapped, and the forward pass called none of them."
        )
    return vectors


def frequency_tables(model: nn.Module) -> list[tuple[np.ndarray, float]]:
    """List the distinct (inv_freq, attention factor) tables that the model's modules hold.

    Where a module holds the sines and cosines of all positions instead, those of position 1 give them.
    """
    tables: dict[bytes, tuple[np.ndarray, float]] = {}
    for module in model.modules():
        for name, buffer in module.named_buffers(recurse=False):
            if name.endswith("inv_freq") and "original" not in name and buffer.ndim == 1:
                factor = float(getattr(module, name.replace("inv_freq", "attention_scaling"), 1.0))
                table = buffer.double().cpu().numpy()
            elif name == "embed_positions" and buffer.ndim == 2 and len(buffer) > 1:  # GPT-J, CodeGen
                sin, cos = buffer[1].double().cpu().chunk(2)
                factor, table = 1.0, torch.atan2(sin, cos).numpy()
            else:
                continue
            tables[table.tobytes() + np.float64(factor).tobytes()] = (table, factor)
    return list(tables.values())


def _identify(
    still: tuple[Tensor, Tensor],
    turned: tuple[Tensor, Tensor],
    positions: np.ndarray,
    probes: int,
    frequencies: list[tuple[np.ndarray, float]],
) -> tuple[_Candidate | None, float]:
    """Find the candidate that takes the unrotated vectors to the rotated ones; None is no rotation."""
    head_dim = still[0].shape[-1]
    best: _Candidate | None = None
    smallest = _residual(still, turned, positions, probes, None)
    for candidate in _candidates(frequencies, head_dim):
        residual = _residual(still, turned, positions, probes, candidate)
        if residual < smallest:
            best, smallest = candidate, residual
    return best, smallest


def _candidates(frequencies: list[tuple[np.ndarray, float]], head_dim: int) -> list[_Candidate]:
    """All layouts at both ends of the head, for each table of frequencies that fits into it."""
    found = []
    for inv_freq, factor in frequencies:
        rotary_dim = 2 * len(inv_freq)
        if rotary_dim > head_dim:
            continue
        for offset in sorted({0, head_dim - rotary_dim}):
            for layout in LAYOUTS:
                channels = pair_channels(layout, rotary_dim, head_dim=head_dim, offset=offset)
                found.append(_Candidate(layout, inv_freq, channels, factor))
    return found


def _residual(
    still: tuple[Tensor, Tensor],
    turned: tuple[Tensor, Tensor],
    positions: np.ndarray,
    probes: int,
    candidate: _Candidate | None,
) -> float:
    """Relative root mean square distance between the rotated vectors and the candidate's prediction."""
    distance = norm = 0.0
    for before, after in zip(still, turned, strict=True):
        before, after = before[:, :probes], after[:, :probes]
        predicted = before
        if candidate is not None:
            angle = np.outer(positions[:probes], candidate.inv_freq)
            predicted = _turn(before, torch.as_tensor(angle, device=before.device), candidate.channels)
        distance += float((after - predicted).square().sum())
        norm += float(after.square().sum())
    return (distance / norm) ** 0.5


def _turn(vectors: Tensor, angle: Tensor, channels: np.ndarray) -> Tensor:
    """Rotate (head, position, head_dim) by (position, pair) radians."""
    first, second = torch.as_tensor(channels, device=vectors.device).unbind(-1)
    x, y = vectors[..., first], vectors[..., second]
    turned = vectors.clone()
    turned[..., first] = x * angle.cos() - y * angle.sin()
    turned[..., second] = x * angle.sin() + y * angle.cos()
    return turned


def _applied_angles(
    still: tuple[Tensor, Tensor], turned: tuple[Tensor, Tensor], best: _Candidate | None
) -> Float[np.ndarray, "pair position"] | None:
    """Direction of sum(rotated * conj(unrotated)) over all heads: the angle that fits best."""
    if best is None:
        return None
    first, second = torch.as_tensor(best.channels, device=still[0].device).unbind(-1)
    product = torch.zeros(len(first), still[0].shape[1], dtype=torch.complex128, device=still[0].device)
    for before, after in zip(still, turned, strict=True):
        z = torch.complex(before[..., first], before[..., second])
        product += (torch.complex(after[..., first], after[..., second]) * z.conj()).sum(0).T
    return product.angle().cpu().numpy()


def _assemble(rows: list, samples: int, tapped: dict[int, tuple[Tensor, Tensor]]) -> Rotation:
    """Stack the layers into one spec, padded to the largest number of pairs."""
    pairs = max(len(best.inv_freq) for _, best, _, _ in rows if best is not None)
    inv_freq = np.full((len(rows), pairs), np.nan)
    channels = np.full((len(rows), pairs, 2), -1, dtype=np.int64)
    factor = np.ones(len(rows))
    angles = np.full((len(rows), pairs, samples), np.nan)
    for row, (_, best, _, angle) in enumerate(rows):
        if best is None:
            continue
        count = len(best.inv_freq)
        inv_freq[row, :count] = best.inv_freq
        channels[row, :count] = best.channels
        factor[row] = best.attention_factor
        angles[row, :count] = angle[:, -samples:]
    layouts = sorted({best.layout for _, best, _, _ in rows if best is not None})
    spec = RopeSpec(
        inv_freq=inv_freq,
        channels=channels,
        attention_factor=factor,
        head_dim=np.array([tapped[layer][0].shape[-1] for layer, *_ in rows], dtype=np.int64),
        layout="+".join(layouts),
    )
    return Rotation(
        spec=spec,
        layers=np.array([layer for layer, *_ in rows]),
        query_heads=tuple(len(tapped[layer][0]) for layer, *_ in rows),
        kv_heads=tuple(len(tapped[layer][1]) for layer, *_ in rows),
        angles=angles,
        residual=np.array([residual for _, _, residual, _ in rows]),
    )

"""Sampled queries and keys of a capture under the names that TransformerLens gives its activations."""

from typing import TYPE_CHECKING

import numpy as np

from ropediag.rope import rotate

if TYPE_CHECKING:
    import xarray as xr

    from ropediag.store.reader import Capture

HOOKS = {"query": ("hook_q", "hook_rot_q"), "key": ("hook_k", "hook_rot_k")}


def name_activations(capture: "Capture") -> "dict[str, xr.DataArray]":
    """Map ``blocks.{layer}.attn.hook_...`` to arrays (sequence, position, head, channel)."""
    spec, found = capture.spec(), {}
    for side, (before, after) in HOOKS.items():
        samples = capture[f"samples/{side}"]
        head = samples.dims[2]
        samples = samples.rename({"sample": "position", head: "head"})
        for row, layer in enumerate(samples.layer.values.tolist()):
            held = samples.sel(layer=layer).transpose("sequence", "head", "position", "channel")
            held = held[..., : int(spec.head_dim[row])].load()
            turned = rotate(
                held.values,
                held.position.values,
                spec.inv_freq[row],
                spec.channels[row],
                float(spec.attention_factor[row]),
            )
            order = ("sequence", "position", "head", "channel")
            found[f"blocks.{layer}.attn.{before}"] = held.transpose(*order)
            rotated = held.copy(data=turned.astype(np.float32)).transpose(*order)
            found[f"blocks.{layer}.attn.{after}"] = rotated.assign_attrs(long_name=f"rotated {side}")
    return found

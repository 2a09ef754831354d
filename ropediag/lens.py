"""TransformerLens beside ropediag: what its hook points say, held against the tap.

A model is put under a bridge without a network like this::

    model = AutoModelForCausalLM.from_pretrained(path)
    tokenizer = AutoTokenizer.from_pretrained(path)
    bridge = TransformerBridge.boot_transformers(path, hf_model=model, tokenizer=tokenizer)

``capture_model`` and ``intervene`` take the bridge as they take the model. Two things to know about a bridge:
it turns the caller's model to eager attention, in place, and its own passes hold length x length scores. A
capture runs the model itself; ``bridge.original_model.set_attn_implementation("sdpa")`` before it spares the
square, where the model supports it. ``Capture.to_activation_names`` finds what a capture holds under the
names of TransformerLens.
"""

from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from ropediag.errors import ModelError
from ropediag.models.bridge import is_bridge, native_model
from ropediag.models.tap import AttentionCall, tap_attention

HOOKS = ("hook_rot_q", "hook_rot_k", "hook_attn_scores")


def compare_hooks(
    bridge: Any, input_ids: Int[Tensor, "sequence position"], hooks: tuple[str, ...] = HOOKS
) -> dict[str, float]:
    """Hold a bridge's hook points against the native tap.

    Parameters
    ----------
    bridge : a TransformerBridge
    input_ids : one short sequence: scores of length x length are held for every layer
    hooks : of each block's attention: rotated queries, rotated keys, logits before the softmax

    Returns
    -------
    hook -> largest deviation in any layer, relative to the largest value; of scores over visible keys alone

    Raises
    ------
    ModelError
        If this is no bridge, or one of the hooks does not fire, naming the first: ``hook_rot_q`` and
        ``hook_rot_k`` exist everywhere and are silent on GPT-NeoX, Phi-3, GPT-J and others (TransformerLens
        4.3, whose ``hook_attn_scores`` of GPT-J holds probabilities).
    """
    if not is_bridge(bridge):
        raise ModelError(f"hooks are a TransformerBridge's: got {type(bridge).__name__}. See ropediag.lens.")
    calls: dict[int, AttentionCall] = {}

    def keep(call: AttentionCall) -> Any:
        calls[call.layer] = call
        return call.attend()

    with torch.no_grad():
        _, fired = bridge.run_with_cache(input_ids)
        with native_model(bridge) as model, tap_attention(model, keep):
            model(input_ids=input_ids, use_cache=False)
    missed = dict.fromkeys(hooks, 0.0)
    for layer, call in sorted(calls.items()):
        for hook in hooks:
            name = f"blocks.{layer}.attn.{hook}"
            if name not in fired:
                raise ModelError(
                    f"{name} did not fire on {model.config.model_type}: TransformerLens has the hook point "
                    "and never runs it here. Use capture_model, whose tap hears this model."
                )
            missed[hook] = max(missed[hook], _deviation(fired[name][0], call, hook))
    return missed


def _deviation(found: Tensor, call: AttentionCall, hook: str) -> float:
    """Largest difference between what a hook saw and what the tap did, relative to the largest value."""
    query, key = call.query[0], call.key[0]
    if hook == "hook_attn_scores":
        expected = call.scaling * query @ key.repeat_interleave(len(query) // len(key), dim=0).mT
        if call.softcap is not None:
            expected = call.softcap * torch.tanh(expected / call.softcap)
        positions = torch.arange(query.shape[1], device=query.device)
        lag = positions[:, None] - positions
        visible = ((lag >= 0) & (lag < (call.window or len(lag)))).expand_as(found)
        found, expected = found[visible], expected[visible]
    else:
        expected = (query if hook == "hook_rot_q" else key).transpose(0, 1)
        found = found.expand_as(expected) if found.shape[-1] == expected.shape[-1] else found
        expected = expected[..., -found.shape[-1] :]  # latent attention: the rotated channels come last
    return float((found - expected).abs().max() / expected.abs().max())

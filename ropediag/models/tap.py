"""The tap: stand between a model and its attention function, call by call.

Every decoder in transformers that uses the attention registry looks its function up by name at each
call. For the time of a ``with`` block the tap replaces that entry in place, under its own name (some
models test the name), hands each call of the tapped model to a handler, and otherwise does what the
original would have done with every argument it got. What attends in another way (GPT-J, Falcon) is tapped by
a file in ``families``, and all else is the same. Capture and interventions both stand on this.
"""

import inspect
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from ropediag.errors import ModelError
from ropediag.models.blocks import LazyMask, attend_in_blocks
from ropediag.models.families import find_family
from ropediag.models.visible import shown_window


@dataclass(frozen=True)
class AttentionCall:
    """One call of the attention function, as the model made it.

    Attributes
    ----------
    module : the attention module of the layer
    layer : int, index of the layer in the model
    query : (batch, query_head, position, head_dim), after any norm and after the rotation
    key : (batch, kv_head, position, head_dim), likewise
    value : (batch, kv_head, position, value_dim)
    mask : the attention mask, None where the function masks causally by itself
    options : the remaining keyword arguments: scaling, sliding_window, softcap, sinks, ...
    """

    module: nn.Module
    layer: int
    query: Tensor
    key: Tensor
    value: Tensor
    mask: Any
    options: dict[str, Any]
    original: Callable[..., Any] = field(repr=False)

    @property
    def scaling(self) -> float:
        """Factor on the logits; 1/sqrt(head_dim) where the model does not say."""
        scaling = self.options.get("scaling")
        return float(self.query.shape[-1] ** -0.5 if scaling is None else scaling)

    @property
    def window(self) -> int | None:
        """Lags the layer can see: 0 .. window - 1, all of them if None; the mask tells if no option does."""
        window = self.options.get("sliding_window")
        return shown_window(self.mask) if window is None else int(window)

    @property
    def softcap(self) -> float | None:
        """The soft cap of its logits; None without one."""
        return self.options.get("softcap")

    @property
    def sinks(self) -> Tensor | None:
        """Learned logits that join each query head's softmax, (query_head,), or None."""
        sinks = self.options.get("s_aux")
        return getattr(self.module, "sinks", None) if sinks is None else sinks

    def attend(self) -> Any:
        """Do what the model would have done, in blocks of queries where its mask is a lazy one."""
        if isinstance(self.mask, LazyMask):
            tensors = self.query, self.key, self.value
            return attend_in_blocks(
                self.original, self.module, *tensors, self.mask, self.options, self.window
            )
        return self.original(self.module, self.query, self.key, self.value, self.mask, **self.options)

    def attend_to_self(self) -> Any:
        """Let each token attend to itself alone, so that nothing downstream depends on positions."""
        group = self.query.shape[1] // self.value.shape[1]
        return self.value.repeat_interleave(group, dim=1).transpose(1, 2).contiguous(), None


Handler = Callable[[AttentionCall], Any]


@contextmanager
def tap_attention(model: Any, handler: Handler) -> Iterator[None]:
    """Send every attention call of ``model`` to ``handler`` within the block.

    Parameters
    ----------
    model : a transformers model whose attention goes through the registry
    handler : receives the call; returns what the attention function is to return, most often
        ``call.attend()``

    Raises
    ------
    ModelError
        If none of the model's modules looks attention up in the registry.
    """
    layers = attention_modules(model)

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def tapped(module, query, key, value, attention_mask=None, *args, **options):
            if module not in layers or args:
                return original(module, query, key, value, attention_mask, *args, **options)
            call = AttentionCall(module, layers[module], query, key, value, attention_mask, options, original)
            return handler(call)

        return tapped

    with ExitStack() as stack:
        for module in layers:
            family = None if _uses_registry(module) else find_family(module)
            if family is not None:
                stack.enter_context(family.listen(module, wrap))
        for home, name in {(_home(module), _attention_name(module, model)) for module in layers}:
            if name == "eager" and hasattr(home, "eager_attention_forward"):
                stack.enter_context(_replaced_function(home, "eager_attention_forward", wrap))
        registries = {
            (id(_home(module).ALL_ATTENTION_FUNCTIONS), _attention_name(module, model)): _home(module)
            for module in layers
            if _uses_registry(module) and _attention_name(module, model) != "eager"
        }
        for (_, name), home in registries.items():
            stack.enter_context(_replaced_entry(home.ALL_ATTENTION_FUNCTIONS, name, wrap))
        yield


def find_decoder(model: Any) -> Any:
    """The model without its language-model head; two types (Llama 4, Mllama) misname it to transformers."""
    return model.model if model.base_model is model else model.base_model


def attention_modules(model: Any) -> dict[nn.Module, int]:
    """Map each module of the text decoder whose attention can be tapped to the index of its layer.

    Raises
    ------
    ModelError
        If there is none.
    """
    found: dict[nn.Module, int] = {}
    for part in (model.get_decoder(), model):  # of a multimodal model the text decoder alone
        if part is not None and not found:
            found = {
                module: _layer_index(module, path)
                for path, module in part.named_modules()
                if isinstance(getattr(module, "layer_idx", None), int) and _is_attention(module)
            }
    if not found:
        raise ModelError(
            f"{model.config.model_type} cannot be captured: its attention does not go through "
            "transformers' attention registry, where ropediag listens. Use a model type "
            "that does (llama, qwen3, gpt_neox, ...), or add a file to ropediag/models/families."
        )
    return found


def _layer_index(module: nn.Module, path: str) -> int:
    """Index of the layer; from the path where a module that several layers share states none (Zamba 2)."""
    stated: Any = module.layer_idx
    index = int(stated)
    numbers = re.findall(r"\.(\d+)\.", path)
    return int(numbers[0]) if index < 0 and numbers else index


def _is_attention(module: nn.Module) -> bool:
    return _uses_registry(module) or find_family(module) is not None


def _uses_registry(module: nn.Module) -> bool:
    """Whether the module's own forward looks the attention function up in the registry."""
    names = inspect.unwrap(type(module).forward).__code__.co_names
    return "ALL_ATTENTION_FUNCTIONS" in names and hasattr(_home(module), "ALL_ATTENTION_FUNCTIONS")


def _attention_name(module: nn.Module, model: Any) -> str:
    """Name of the module's attention implementation: parts of a model may differ in it."""
    config = getattr(module, "config", None)
    return getattr(config, "_attn_implementation", None) or model.config._attn_implementation


def _home(module: nn.Module) -> ModuleType:
    """Find the modeling file whose globals the module's forward reads."""
    return sys.modules[inspect.unwrap(type(module).forward).__module__]


@contextmanager
def _replaced_entry(registry: Any, name: str, wrap: Callable) -> Iterator[None]:
    # The registry is a local mapping over a global one: leave no local entry behind where none was.
    local = registry._local_mapping
    before = local.get(name)
    registry[name] = wrap(registry[name])
    try:
        yield
    finally:
        if before is None:
            del registry[name]
        else:
            registry[name] = before


@contextmanager
def _replaced_function(home: Any, name: str, wrap: Callable) -> Iterator[None]:
    before = getattr(home, name)
    setattr(home, name, wrap(before))
    try:
        yield
    finally:
        setattr(home, name, before)

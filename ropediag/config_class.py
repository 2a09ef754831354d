"""Configs read through their class: what a config.json leaves out, transformers' own class fills in.

About sixty model types set the base, the head size, the rotated share, windows or the pattern of layers in
their configuration class, and published files leave these keys out. Where transformers can build the class,
its values are the truth. Of the rooms that need no torch this is the one that imports transformers, which
brings torch along: late, and only for a config that does not state everything itself.
"""

import copy
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ropediag.errors import ConfigError
from ropediag.rope_config import (
    BASES,
    COUNTS,
    HEAD_SIZES,
    HEADS,
    LAYERS_BY_NAME,
    LENGTHS,
    LOCAL_BASES,
    SHARES,
    WIDTHS,
    LayerRope,
    check_entries,
    check_values,
    read_layers,
    text_part,
    widest_layers,
)

# Keys that a class without them ignores, though they stand in the file.
_WINDOWS = ("sliding_window", "use_sliding_window", "max_window_layers", "sliding_window_pattern",
            "attention_window_size", "attention_chunk_size")  # fmt: skip
_PATTERNS = (*LAYERS_BY_NAME, "block_types", "no_rope_layers", "no_rope_layer_interval",
             "attn_layer_indices", "layer_rope_theta")  # fmt: skip
_OPTIONAL = (*_WINDOWS, *_PATTERNS, *BASES, *LOCAL_BASES, "rotary_dim", "attn_rotary_emb", "rotary_pct",
             "rope_pct", "rope_ratio", "alibi", "position_embedding_type", "use_dynamic_ntk")  # fmt: skip
# Types that are read without their class: the keys that must be stated beside base, layers and head, and
# those of ``_OPTIONAL`` that they have. Other types, and files with other keys, are read through the class.
_QWEN = ("rope_theta", "use_sliding_window", "sliding_window", "max_window_layers", "layer_types")
_READ_ALONE: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "llama": ((), ("rope_theta",)),
    "mistral": (("sliding_window",), ("rope_theta", "sliding_window")),
    "mixtral": (("sliding_window",), ("rope_theta", "sliding_window")),
    "qwen2": (("use_sliding_window",), _QWEN),
    "qwen3": (("head_dim", "use_sliding_window"), _QWEN),
    "gpt_neox": (("partial_rotary_factor",), ("rotary_emb_base", "rotary_pct")),
}
_FILLED = (*COUNTS, *WIDTHS, *HEADS, *HEAD_SIZES, *LENGTHS, "original_max_position_embeddings",
           *_WINDOWS, *_PATTERNS, *LOCAL_BASES)  # fmt: skip


@dataclass(frozen=True)
class Completed:
    """A config with what its class sets filled in.

    Attributes
    ----------
    config : complete as far as anything can tell
    owner : name of the class that filled in ``filled``; None if none was asked
    filled : keys that the file leaves to the class, of those that are read here
    note : what a reader of the figures should know of this, None if nothing
    """

    config: Mapping[str, Any]
    owner: str | None = None
    filled: tuple[str, ...] = ()
    note: str | None = None


def complete_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a config with what its class sets filled in; ``read_through_class`` also says what that was.

    Parameters
    ----------
    config : the parsed config.json

    Raises
    ------
    ConfigError
        If transformers has the class and refuses the config.
    """
    return read_through_class(config).config


def read_through_class(config: Mapping[str, Any]) -> Completed:
    """Complete a config through its class, if it has one and leaves anything to it.

    Raises
    ------
    ConfigError
        If transformers has the class and refuses the config.
    """
    text = text_part(config)
    for part in (config, text):  # before a class is looked up, and makes lists of as many layers
        check_values(part, only=("model_type", *COUNTS))
    if states_all(text):
        return Completed(config)
    kinds = _known_classes(config, text)
    if not kinds:
        note = (
            f"transformers has no class for model_type {text['model_type']!r}: where config.json states no "
        )
        note += "rotated share, whole heads rotate; where it states no window, layers see everything"
        return Completed(config, note=note)
    built = _build(kinds)
    completed, owner = list_entries(built), type(built).__name__
    _forget_length(text_part(completed), text)
    filled = _list_filled(text, text_part(completed))
    note = f"set by transformers' {owner}, not in config.json: {', '.join(filled)}"
    return Completed(completed, owner, tuple(filled), note if filled else None)


def list_entries(config: Any) -> dict[str, Any]:
    """Return the entries of a transformers configuration, those left out that its class does not know."""
    entries = config.to_dict()
    try:
        with quiet_transformers():
            known = set(type(config)().to_dict())
    except Exception:  # some classes cannot be built without arguments, each in its own way
        known = set(entries)
    kept = {name: value for name, value in entries.items() if name in known or name not in _OPTIONAL}
    parts = {
        name: part for name, part in vars(config).items() if name in kept and hasattr(part, "sub_configs")
    }
    return kept | {name: list_entries(part) for name, part in parts.items()}


def read_widest(config: Any) -> LayerRope:
    """Return the first of the layers that see furthest, whose base is the model's.

    Parameters
    ----------
    config : a transformers configuration

    Raises
    ------
    ConfigError
        As ``read_layers``.
    """
    return widest_layers(read_layers(list_entries(config)))[0]


def states_all(config: Mapping[str, Any]) -> bool:
    """Whether a config of text alone can be read without its class: it has none, or leaves nothing to it."""
    model_type = config.get("model_type")
    if model_type is None:
        return True
    if model_type not in _READ_ALONE:
        return False
    needed, own = _READ_ALONE[model_type]
    stated = {name for name, value in config.items() if value is not None} | _rule_keys(config)
    sliding = config.get("use_sliding_window") or "sliding_attention" in str(config.get("layer_types"))
    known = bool(config.get("use_sliding_window")) and {"layer_types", "sliding_window"} <= stated
    return (
        not any(key in config and key not in own for key in _OPTIONAL)  # which the class may ignore
        and (known or not sliding)
        and "num_hidden_layers" in stated
        and ("head_dim" in stated or {"hidden_size", "num_attention_heads"} <= stated)
        and not stated.isdisjoint(BASES)
        and ("factor" not in stated or "max_position_embeddings" in stated)
        and all(key in config or (key in SHARES and not stated.isdisjoint(SHARES)) for key in needed)
    )


def _rule_keys(config: Mapping[str, Any]) -> set[str]:
    """Collect the keys with a value in a config's scaling rules, those by layer type included."""
    rules = [config.get(name) for name in ("rope_parameters", "rope_scaling")]
    rules += [rule for table in rules if isinstance(table, Mapping) for rule in table.values()]
    return {
        key for rule in rules if isinstance(rule, Mapping) for key, value in rule.items() if value is not None
    }


def _known_classes(*parts: Mapping[str, Any]) -> list[tuple[Any, Mapping[str, Any]]]:
    """List the classes that transformers has for a config and for its text part."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    found = [(part.get("model_type"), part) for part in parts]
    return [
        (CONFIG_MAPPING[name], part) for name, part in found if name is not None and name in CONFIG_MAPPING
    ]


def _build(kinds: list[tuple[Any, Mapping[str, Any]]]) -> Any:
    """Build the first class that takes its part: the whole config, else the text model's part alone."""
    failure: ConfigError | None = None
    for kind, part in kinds:
        try:
            with quiet_transformers():
                return kind.from_dict(copy.deepcopy(dict(part)))
        except Exception as error:  # each class checks its entries in its own way, or not at all
            check_entries(text_part(part))
            failure = failure or ConfigError(
                f"transformers' {kind.__name__} does not accept this config: {first_statement(error)}"
            )
    assert failure is not None
    raise failure


def _forget_length(completed: Mapping[str, Any], stated: Mapping[str, Any]) -> None:
    """Take back the original length of a rule that the class set to max_position_embeddings."""
    key = "original_max_position_embeddings"
    ruled = _rule_keys(stated)
    if not ruled or key in ruled or stated.get(key) is not None:
        return  # stated, or the class's own rule, or none
    rope = completed.get("rope_parameters") or {}
    for rule in (rope, *(value for value in rope.values() if isinstance(value, dict))):
        rule.pop(key, None)


def _list_filled(stated: Mapping[str, Any], completed: Mapping[str, Any]) -> list[str]:
    """Name what the class filled in, of the keys that are read here."""
    there = {name for name, value in stated.items() if value is not None} | _rule_keys(stated)
    filled = [name for name in _FILLED if completed.get(name) and name not in there]
    for name, spellings in (("rope_theta", BASES), ("partial_rotary_factor", SHARES)):
        if name in _rule_keys(completed) and there.isdisjoint(spellings):
            filled.append(name)
    return filled


def first_statement(error: Exception) -> str:
    """Return the first line of another package's error, and the next one where the first ends in a colon."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    count = 2 if lines and lines[0].endswith(":") else 1
    return " ".join(lines[:count]) or type(error).__name__


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep progress bars, warnings and load reports off the screen: what matters is raised as an error."""
    from transformers.utils import logging as transformers_logging

    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity(logging.CRITICAL)
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers_logging.set_verbosity(level)
        transformers_logging.enable_progress_bar()

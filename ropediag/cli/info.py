"""``ropediag info``: what is in a capture, finished or still running."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ropediag.analysis.runs import word_runs
from ropediag.recipe import write_command

if TYPE_CHECKING:
    from ropediag.store import Summary

PANEL = "Look"
EXAMPLE = "ropediag info captures/my-demo-8192.h5"


def command(
    file: Annotated[Path, typer.Argument(help="A capture: NAME.h5, or NAME.h5.partial while it runs.")],
    json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Show what a capture holds: model, lengths, rope, contents, and what is still missing."""
    from ropediag.analysis.angle_note import note_angle_error
    from ropediag.store import is_study, open_capture, open_study, summarize, summarize_study

    note = None
    if is_study(file):
        open_study(file)  # finds out what is damaged
        summary = summarize_study(file)
    else:
        if file.is_file():
            with open_capture(file) as capture:
                note = note_angle_error(capture)
        summary = summarize(file)
    typer.echo(format_json(summary) if json else format_text(summary))
    if note and not json:
        typer.echo(f"{'note':9} {note}")


def format_json(summary: "Summary") -> str:
    """Write a summary as JSON; what is not known (NaN) is null."""
    import json
    import math
    from dataclasses import asdict

    def known(value: Any) -> Any:
        return None if isinstance(value, float) and not math.isfinite(value) else value

    fields = {**asdict(summary), "path": str(summary.path)}
    fields["attributes"] = {name: known(value) for name, value in summary.attributes.items()}
    return json.dumps(fields, indent=2, allow_nan=False)


def format_text(summary: "Summary") -> str:
    """Write a summary as lines of a label and a text; what a file does not say is left out."""
    version = summary.attributes.get("schema_version", "not stated")
    lines = {
        "file": f"{summary.path} ({summary.size / 2**20:,.1f} MiB, format {version})",
        "status": _describe_status(summary),
        "model": _describe_model(summary.attributes),
        "lengths": _describe_lengths(summary),
        "rope": _describe_rope(summary),
        "size": _describe_size(summary.sizes),
        "missing": _describe_missing(summary),
        "versions": _describe_versions(summary.attributes),
        "text": _describe_text(summary.attributes),
        "command": _describe_command(summary.attributes),
    }
    text = [f"{label:9} {line}" for label, line in lines.items() if line]
    groups: dict[str, list[str]] = {}
    for path in summary.variables:
        group, _, name = path.rpartition("/")
        groups.setdefault(group, []).append(name)
    text += [f"{'/' + group if group else 'columns':9} {', '.join(names)}" for group, names in groups.items()]
    printable = ("".join(char if char.isprintable() else "?" for char in line) for line in text)
    return "\n".join(printable)


def _describe_status(summary: "Summary") -> str:
    attributes = summary.attributes
    begun = f"begun {attributes['created']}" if "created" in attributes else ""
    took = f"took {attributes['seconds']:,.0f} s" if "seconds" in attributes else ""
    return _join(attributes.get("kind", "capture"), attributes.get("status", "complete"), begun, took)


def _describe_model(attributes: dict[str, Any]) -> str:
    on = f"on {attributes['device']}" if "device" in attributes else ""
    named = [attributes.get(key, "") for key in ("model", "architecture", "dtype")]
    weights = f"weights {attributes['weight_fingerprint'][:12]}" if "weight_fingerprint" in attributes else ""
    return _join(*named, on, attributes.get("attention", ""), weights)


def _describe_lengths(summary: "Summary") -> str:
    attributes, sequences = summary.attributes, summary.sizes.get("sequence", 0)
    named = {"train_len": "pretrained at", "tune_len": "tuned at"}
    parts = [f"{label} {attributes[key]:,}" for key, label in named.items() if attributes.get(key)]
    length = f"{attributes['length']:,} tokens" if "length" in attributes else ""
    return _join(length, f"{sequences} sequence{'s' if sequences != 1 else ''}", *parts)


def _describe_rope(summary: "Summary") -> str:
    attributes, pairs = summary.attributes, sorted({pair for pair in summary.critical_pair if pair >= 0})
    named = {"base": "base", "pretrain_base": "pretraining base"}
    bases = [f"{label} {attributes[key]:,g}" for key, label in named.items() if _known(attributes.get(key))]
    critical = f"critical pair {pairs[0]}" + (f" to {pairs[-1]}" if len(pairs) > 1 else "") if pairs else ""
    count = f"{summary.sizes['pair']} pairs" if "pair" in summary.sizes else ""
    layout = f"{attributes['layout']} layout" if attributes.get("layout") else ""
    return _join(layout, *bases, count, critical)


def _describe_size(sizes: dict[str, int]) -> str:
    named = {
        "model": "models",
        "layer": "layers",
        "query_head": "query heads",
        "kv_head": "key heads",
        "lag": "lag bins",
    }
    named |= {"task": "recall tasks", "length": "recall lengths", "depth": "depths", "run": "interventions"}
    return _join(*(f"{sizes[dim]} {label}" for dim, label in named.items() if dim in sizes))


def _describe_missing(summary: "Summary") -> str:
    by_layers: dict[tuple[int, ...], list[int]] = {}
    for sequence in sorted({sequence for sequence, _ in summary.missing_layers}):
        layers = tuple(layer for other, layer in summary.missing_layers if other == sequence)
        by_layers.setdefault(layers, []).append(sequence)
    parts = [
        f"layers {word_runs(layers)} of sequence {word_runs(seqs)}" for layers, seqs in by_layers.items()
    ]
    losses = f"loss of sequence {word_runs(summary.missing_losses)}" if summary.missing_losses else ""
    return "; ".join(part for part in [*parts, losses] if part)


def _describe_versions(attributes: dict[str, Any]) -> str:
    names = ("ropediag", "torch", "transformers")
    return _join(*(f"{n} {attributes[n + '_version']}" for n in names if n + "_version" in attributes))


def _describe_text(attributes: dict[str, Any]) -> str:
    seed = f"seed {attributes['seed']}" if "seed" in attributes else ""
    if "text_hash" not in attributes:
        return seed
    name = attributes.get("bos")
    bos = "read without BOS" if name is None else f"begins with {name or 'no special token'}"
    return _join(seed, f"hash {attributes['text_hash'][:12]}", bos)


def _describe_command(attributes: dict[str, Any]) -> str:
    """Return the command that makes the file again; none for files of kinds that no recipe repeats."""
    command = {
        "capture": "capture",
        "ablation": "ablate",
        "attribution": "attribute",
        "evaluation": "evaluate",
    }.get(str(attributes.get("kind", "capture")))
    if not command:
        return ""
    return write_command(command, attributes.get("config"), attributes.get("figures")) or ""


def _known(value: float | None) -> bool:
    return value is not None and value == value


def _join(*parts: str) -> str:
    return ", ".join(part for part in parts if part)

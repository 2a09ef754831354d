"""``ropediag predict``: what the laws say of a checkpoint, a config.json or a set of numbers."""

import json
from collections.abc import Mapping
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ropediag.prediction import Prediction, TargetAnswer

from ropediag.cli._options import AsJson, Phases, TrainLen, TuneLen, length_option

PANEL = "Theory"
EXAMPLE = "ropediag predict --base 1e6 --pretrain-base 1e4 --train-len 4k --rotary-dim 128"
FALLEN_SHORT = "29 of 128"  # models of studies/results/coverage.csv
PathArgument = Annotated[
    Path | None, typer.Argument(metavar="PATH", help="Checkpoint directory or config.json.")
]


def command(
    path: PathArgument = None,
    base: Annotated[float | None, typer.Option(help="rope_theta of the model as it is, or would be.")] = None,
    pretrain_base: Annotated[
        float | None, typer.Option(help="rope_theta of pretraining; --base if not given.")
    ] = None,
    train_len: TrainLen = None,
    tune_len: TuneLen = None,
    phase: Phases = None,
    rotary_dim: Annotated[int | None, typer.Option(help="Rotated dimensions of a head.")] = None,
    scaling: Annotated[
        str | None,
        typer.Option(
            help="Scaling rule to apply: linear, ntk, dynamic, yarn or llama3, with --factor; or any whole, "
            'as JSON: \'{"rope_type": "yarn", "factor": 4, "beta_fast": 24}\'.'
        ),
    ] = None,
    factor: Annotated[float | None, typer.Option(help="Factor of the scaling rule.")] = None,
    target_len: Annotated[
        int | None, length_option("--target-len", help="Length to reach, such as 128k.")
    ] = None,
    turns: Annotated[float, typer.Option(help="Share of a turn that counts as trained.")] = 1.0,
    as_json: AsJson = False,
) -> None:
    """Predict where a model breaks: which pair first, at what length, and what a longer reach needs."""
    from ropediag.prediction import predict

    prediction = predict(
        path,
        base=base,
        pretrain_base=pretrain_base,
        train_len=train_len,
        tune_len=tune_len,
        rotary_dim=rotary_dim,
        scaling=_parse_rule(scaling),
        factor=factor,
        target_len=target_len,
        turns=turns,
        phases=tuple(phase or ()),
    )
    if as_json:
        from dataclasses import asdict

        typer.echo(json.dumps(asdict(prediction), indent=2))
    else:
        _print_table(prediction)


def _parse_rule(text: str | None) -> str | dict[str, Any] | None:
    """Read a rule that is written out; a name stays a name."""
    from ropediag.errors import ConfigError

    if text is None or not text.lstrip().startswith("{"):
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        raise ConfigError(f"--scaling is not JSON: {error}. Write it as in a config.json.") from error


def _print_table(prediction: "Prediction") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=False)
    table.add_column(overflow="fold")
    rows = [*_describe_model(prediction), *_describe_laws(prediction)]
    if prediction.target:
        bound = None if _exceeded(prediction) else prediction.retrieval_bound
        rows += _describe_target(prediction.target, bound, prediction.rule == "default")
    for name, value in rows:
        table.add_row(name, value)
    console = Console(highlight=False, markup=False)
    console.print(table)
    for note in prediction.notes:
        console.print(f"note: {note}")


def _describe_model(prediction: "Prediction") -> list[tuple[str, str]]:
    found = prediction.sources
    rows = [
        ("source", prediction.source),
        ("base", f"{_plain(prediction.base)} ({found['base']})"),
        *[
            ("trained" if at == 0 else "", _describe_phase(phase))
            for at, phase in enumerate(prediction.phases)
        ],
        ("head", f"{prediction.rotary_dim} of {prediction.head_dim} dimensions rotate, {prediction.layout}"),
    ]
    if prediction.rule != "default":
        rows.append(("scaling rule", prediction.rule))
    if prediction.turns != 1:
        rows.append(("a pair is trained after", f"{prediction.turns:g} turns"))
    return rows


def _describe_phase(phase: Mapping[str, Any]) -> str:
    from ropediag.theory.phases import PhaseSpec

    spec = PhaseSpec(**phase)
    label = f", {spec.label}" if spec.label else ""
    return f"{spec.describe()}{label} ({spec.source})"


def _describe_laws(prediction: "Prediction") -> list[tuple[str, str]]:
    critical, size = prediction.critical_dimension, prediction.rotary_dim
    first_reach = "none: no lag turns a pair to an unseen angle"
    if prediction.first_reach is not None:
        first_reach = (
            f"{_tokens(prediction.first_reach)}, a lower bound: no pair meets an unseen angle before"
        )
    retrieval = prediction.retrieval_bound
    seen = ", within the trained length: it holds for independent components, and models exceed it"
    rows = [
        ("critical dimension", f"{critical} of {size} (pairs 0 to {critical // 2 - 1} were trained)"),
        *(
            []
            if prediction.critical_base is None
            else [("critical base", f"{_plain(prediction.critical_base)} at this tuning length")]
        ),
        ("predicted limit", prediction.describe_limit()),
        ("  because", prediction.law),
        *_describe_fitted(prediction),
        ("first reach", first_reach),
        (
            "retrieval bound",
            "none found"
            if retrieval is None
            else f"{retrieval:,} tokens (first B_m < 0){seen if _exceeded(prediction) else ''}",
        ),
    ]
    first = prediction.first_untrained
    if first:
        rows += [
            ("breaks first", f"pair {first.pair}, channels {first.channels[0]} and {first.channels[1]}"),
            ("  its period", f"{_tokens(first.period)}, {_tokens(first.pretrain_period)} in pretraining"),
            ("  its coverage", f"{first.coverage:.3f} of a turn seen in training"),
            ("  its reach", _tokens(first.reach)),
        ]
    return rows


def _exceeded(prediction: "Prediction") -> bool:
    """Check whether the retrieval bound lies within lengths that the model was trained at."""
    bound = prediction.retrieval_bound
    return bound is not None and bound <= max(prediction.train_len, prediction.tune_len)


def _describe_fitted(prediction: "Prediction") -> list[tuple[str, str]]:
    from ropediag.limits import FITTED_TURNS

    if prediction.fitted_limit is None:
        return []
    said = f"{_tokens(prediction.fitted_limit)}: a pair counts as trained after {FITTED_TURNS:g} of a turn"
    return [("  fitted limit", said)]


def _describe_target(
    target: "TargetAnswer", retrieval_bound: int | None, plain: bool
) -> list[tuple[str, str]]:
    """Write what reaches a length; bases of plain RoPE do not answer a question about a scaling rule."""
    reached = "the law allows it" if target.reached else f"{target.unseen_pairs} pairs meet unseen angles"
    rows = [(f"to reach {target.length:,}", reached)]
    if plain and target.base is not None and target.cautious_base is not None:
        at = f"at {target.tune_len:,} tokens, plain RoPE"
        rows += [
            (
                "  tune with base",
                f"{ceil(target.cautious_base):,} {at} (cautious: without the law's ceiling)",
            ),
            (
                "  the law's least",
                f"{ceil(target.base):,} ({FALLEN_SHORT} small models fell over 10 % short of it)",
            ),
        ]
    if not target.reached:
        rows.append(("  or tune at", f"{target.length:,} tokens, with any base"))
    if retrieval_bound is not None and retrieval_bound < target.length:
        rows.append(("  retrieval", f"in doubt from {retrieval_bound:,} tokens on, even if the loss holds"))
    if not plain:
        return rows
    if target.retrieval_base is None:
        rows.append(("  for B_m >= 0", "no base found"))
    else:
        everywhere = f", always from {_rough(target.retrieval_base_all)}" if target.retrieval_base_all else ""
        rows.append(("  for B_m >= 0", f"base about {_rough(target.retrieval_base)}{everywhere}"))
    return rows


def _plain(number: float) -> str:
    return f"{number:,.0f}" if number >= 1000 else f"{number:,.6g}"


def _rough(number: float) -> str:
    return f"{number:.1e}".replace("e+0", "e").replace("e+", "e")


def _tokens(number: float) -> str:
    return f"{number:,.0f} tokens"

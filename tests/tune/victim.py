"""Processes that pretrain, tune or run a study, to be killed anywhere; called again they go on."""

import os
from pathlib import Path

import torch

from ropediag.study.config import Evaluation, Grid, StudyConfig, Tuning
from ropediag.study.run import run_study
from ropediag.study.sections import Capturing
from ropediag.tune.tune import tune_model
from ropediag.tune.tune_config import TuneConfig

torch.set_num_threads(1)


def quiet(line: str) -> None:
    """Say nothing."""


def tune(parent: Path, out: Path) -> None:
    """Begin to tune a model, or go on with it."""
    silence()
    text = (parent.parent / "text.py",)
    settings = {"model": str(parent), "base": 8000.0, "text": text, "steps": 30, "batch": 4, "save_every": 10}
    tune_model(TuneConfig(out=out, resume=True, **settings), say=quiet)


def study(parent: Path, out: Path) -> None:
    """Begin a study, or go on with it."""
    silence()
    run_study(plan_study(parent), out, say=quiet)


def plan_study(parent: Path) -> StudyConfig:
    text = (parent.parent / "text.py",)
    return StudyConfig(
        name="tiny",
        parents=(str(parent),),
        grid=(Grid((2000.0,), (64,)),),
        tune=Tuning(steps=3, tokens=256, text=text),
        evaluate=Evaluation(sequences=2, least=256, reach=1.5, text=text),
        capture=Capturing(length=96, sequences=2),
    )


def silence() -> None:
    """Say nothing on the screen: a killed process and its bars would stand between the tests' own lines."""
    torch.set_num_threads(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)

"""Captures made to harm a dashboard: well-formed and sealed, but with names and numbers that no model has."""

import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from ropediag.store.seal import seal_file
from tests.app.conftest import CAPTURES
from tests.store.synthetic import write_capture

MARKUP = "<img src=x onerror='window.got_in = 1'><script>window.got_in = 2</script>"
TEXTS = ("model", "architecture", "config", "device", "dtype", "attention", "created", "ropediag_version")
FAR = ("lag", "coarse_lag", "position", "position_bin", "norm_bin", "sample", "query_block", "key_block")
ODD = [np.nan, np.inf, -np.inf, 0.0, -0.0, 3e38, -3e38, 1e-45, 1.0]
ODD_WHOLE = [-1, 0, 5, 2**31 - 1, -(2**31)]


def fill(value: float) -> Callable[[h5py.File], None]:
    """The same number everywhere."""
    return lambda file: each_variable(
        file, lambda one: one.write_direct(np.full(one.shape, value, one.dtype))
    )


def scatter(file: h5py.File) -> None:
    """Odd numbers in every variable."""
    random = np.random.default_rng(0)

    def change(one: h5py.Dataset) -> None:
        one[...] = random.choice(ODD if one.dtype.kind == "f" else ODD_WHOLE, one.shape)

    each_variable(file, change, kinds="fi")


def each_variable(file: h5py.File, change: Callable[[h5py.Dataset], None], kinds: str = "f") -> None:
    def visit(name: str, one: h5py.Dataset | h5py.Group) -> None:
        if isinstance(one, h5py.Dataset) and one.dtype.kind in kinds and "/" in name:
            change(one)

    file.visititems(visit)


def move_far(file: h5py.File) -> None:
    for axis in FAR:
        file[axis][...] = file[axis][...].astype("i8") * 2**40


def turn_labels(file: h5py.File) -> None:
    for axis in ("layer", "query_head", "pair"):
        file[axis][...] = -np.arange(1, len(file[axis]) + 1)


def write_attributes(**attributes: object) -> Callable[[h5py.File], None]:
    return lambda file: file.attrs.update(attributes)


def write_markup(file: h5py.File) -> None:
    file.attrs.update(dict.fromkeys(TEXTS, MARKUP))
    file["tokens/piece"][...] = MARKUP


EDITS = {
    "NaN everywhere": fill(np.nan),
    "infinity everywhere": fill(np.inf),
    "zero everywhere": fill(0.0),
    "enormous numbers": fill(3e38),
    "enormous negative numbers": fill(-3e38),
    "odd numbers": scatter,
    "an endless length": write_attributes(length=2**62),
    "an endless training": write_attributes(train_len=2**62, tune_len=2**62),
    "a training of one token": write_attributes(train_len=1),
    "extreme bases": write_attributes(base=1e308, pretrain_base=1e-308),
    "markup in the names": write_markup,
    "markup for a layout": write_attributes(layout=MARKUP),
    "endless names": write_attributes(**dict.fromkeys(TEXTS, "x" * 60_000)),
    "bins far away": move_far,
    "negative names of axes": turn_labels,
}
SIZES = {
    "very many layers": {"layers": tuple(range(600)), "heads": 2, "kv_heads": 1, "pairs": 2},
    "very many heads": {"layers": (0,), "heads": 5000, "kv_heads": 1, "pairs": 2},
    "very many pairs": {"layers": (0,), "heads": 1, "kv_heads": 1, "pairs": 5000},
}
KINDS = (*EDITS, *SIZES)


def write_hostile(path: Path, kind: str) -> Path:
    """Write the capture of this kind."""
    if kind in SIZES:
        return write_capture(path, sequences=1, **SIZES[kind])
    shutil.copy(CAPTURES / "example-kept-2048.h5", path)
    with h5py.File(path, "r+") as file:
        EDITS[kind](file)
    seal_file(path)
    return path

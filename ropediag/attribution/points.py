"""Measured points of the path, in a folder ``NAME.h5.points`` so that a kill loses one of them.

Each file holds one point of one sequence and is whole or absent.
"""

import io
import json
import shutil
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from ropediag.attribution.config import AttributeConfig
from ropediag.errors import CaptureError, FormatError
from ropediag.store.disk import publish

SUFFIX = ".points"
RECIPE = "recipe.json"


@dataclass(frozen=True, eq=False)
class Point:
    """The loss of one sequence and its gradient by the gates, all gates at one value; nats.

    Attributes
    ----------
    loss : mean over each stretch of positions
    nats : gradient of each stretch
    by_lag, first_keys : gradient of the mean over all positions, by lag bin, and through the first keys alone
    nll : loss by position at both ends of the path, else empty
    """

    loss: Float[np.ndarray, " stretch"]
    nats: Float[np.ndarray, "stretch layer query_head pair"]
    by_lag: Float[np.ndarray, "layer query_head pair lag"]
    first_keys: Float[np.ndarray, "layer query_head pair"]
    nll: Float[np.ndarray, " position"]


@dataclass(frozen=True, eq=False)
class Parts:
    """The integral of one sequence along the path; nats.

    Attributes
    ----------
    difference : loss as it is minus loss at limited lags, mean over each stretch of positions
    nats, by_lag, first_keys : the parts of it, as the gradients of ``Point``
    nll_limited, nll : loss by position at both ends
    """

    difference: Float[np.ndarray, " stretch"]
    nats: Float[np.ndarray, "stretch layer query_head pair"]
    by_lag: Float[np.ndarray, "layer query_head pair lag"]
    first_keys: Float[np.ndarray, "layer query_head pair"]
    nll_limited: Float[np.ndarray, " position"]
    nll: Float[np.ndarray, " position"]


class PointStore:
    """The measured points of one attribution: in memory, and in a folder where a file is to be written.

    Parameters
    ----------
    config : of the run
    fingerprint, text_hash : of weights and tokens; points of others are refused

    Raises
    ------
    CaptureError
        If there is a folder of an interrupted run and this one neither resumes nor replaces it, or it is
        another run's.
    """

    def __init__(self, config: AttributeConfig, fingerprint: str, text_hash: str) -> None:
        self._held: dict[tuple[int, int], Point] = {}
        self._folder: Path | None = None
        if config.out is None:
            return
        folder = config.out.with_name(config.out.name + SUFFIX)
        recipe = json.dumps({"config": config.recipe(), "weights": fingerprint, "tokens": text_hash})
        if folder.exists() and config.force:
            shutil.rmtree(folder)
        if folder.exists():
            self._check(folder, recipe, config.resume)
        self._folder, self._recipe = folder, recipe

    @staticmethod
    def _check(folder: Path, recipe: str, resume: bool) -> None:
        if not resume:
            raise CaptureError(
                f"{folder} holds points of an interrupted attribution. Go on with --resume, or "
                "replace them with --force."
            )
        try:
            stated = (folder / RECIPE).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            stated = ""
        if stated != recipe:
            raise CaptureError(
                f"{folder} was begun with other settings, weights or tokens. Repeat those, or "
                "replace its points with --force."
            )

    def get(self, number: int, sequence: int) -> Point | None:
        """Return a point that was measured, None if it was not.

        Raises
        ------
        FormatError
            If its file is damaged.
        """
        if (number, sequence) not in self._held and self._folder is not None:
            path = self._path(number, sequence)
            if path.exists():
                self._held[number, sequence] = _read(path)
        return self._held.get((number, sequence))

    def put(self, number: int, sequence: int, point: Point) -> None:
        """Keep a point.

        Raises
        ------
        CaptureError
            If the disk is full or refuses.
        """
        self._held[number, sequence] = point
        if self._folder is not None:
            if not self._folder.exists():  # not before there is a point: a run that is refused leaves nothing
                self._folder.mkdir(parents=True)
                publish(self._folder / RECIPE, self._recipe.encode())
            image = io.BytesIO()
            np.savez(image, **asdict(point))
            publish(self._path(number, sequence), image.getvalue())

    def remove(self) -> None:
        """Remove the folder, once the file is written."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, number: int, sequence: int) -> Path:
        assert self._folder is not None
        return self._folder / f"point-{number:02d}-{sequence:04d}.npz"


def describe_kept(out: Path | None) -> str:
    """Write what an interrupted attribution left, and how to resume it."""
    if out is None:
        return "nothing was kept; with --out an interrupted attribution can be resumed."
    folder = out.with_name(out.name + SUFFIX)
    count = len(list(folder.glob("point-*.npz")))
    return f"{folder} keeps {count} points; the same command with --resume goes on from there."


def _read(path: Path) -> Point:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return Point(**{name: arrays[name] for name in arrays.files})
    except (OSError, ValueError, TypeError, KeyError, zipfile.BadZipFile) as error:
        raise FormatError(f"{path} is damaged: {error}. Delete it and resume.") from error

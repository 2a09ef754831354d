"""The files that ship with ropediag: a demo model, a held-out text and the list of its training text.

``demo/`` is a Hugging Face checkpoint with its card, made by ``ropediag pretrain``; ``heldout.txt`` holds
standard library files that the model never saw; ``stdlib.txt`` lists, with a hash each, the files that
it was trained on and the files that were held out. Both texts come under ``LICENSE-PSF.txt``.
"""

from pathlib import Path

__all__ = ["demo_model", "held_out_text", "standard_library_list"]

_FOLDER = Path(__file__).parent


def demo_model() -> Path:
    """Name the folder of the bundled model, as ``--model demo`` does."""
    return _FOLDER / "demo"


def held_out_text() -> Path:
    """Name the bundled UTF-8 text that the bundled model never saw, 1.1 million bytes."""
    return _FOLDER / "heldout.txt"


def standard_library_list() -> Path:
    """Name the list of standard library files: split, SHA-256 and path, one file a line."""
    return _FOLDER / "stdlib.txt"

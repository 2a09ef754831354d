"""A model so small that tests can pretrain it, and the text it is made from."""

from pathlib import Path

from ropediag.tune.config import PretrainConfig

TEXT = "".join(f"def f{n}(x):\n    return x + {n}\n" for n in range(300))


def tiny_config(folder: Path, **changes) -> PretrainConfig:
    """A pretraining run of a few seconds, with its text in ``folder``."""
    text = folder / "text.py"
    text.write_text(TEXT)
    settings = {"out": folder / "parent", "text": (text,), "length": 64, "base": 500.0, "layers": 1}
    return PretrainConfig(**settings | {"width": 32, "heads": 1, "steps": 20, "batch": 4} | changes)

"""The kind of a file: a capture, and no evaluation or ablation, which the same reader opens."""

from ropediag.errors import ConfigError
from ropediag.store import Capture


def check_capture(opened: Capture) -> None:
    """Refuse an open file that is no capture.

    Raises
    ------
    ConfigError
        Names the file and the kind of file that it is.
    """
    if "scores" not in opened:
        kind = opened.attrs.get("kind", "file without scores")
        raise ConfigError(f"{opened.path} is no capture but: {kind}. Give what ropediag capture wrote.")

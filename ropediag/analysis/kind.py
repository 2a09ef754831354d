"""The kind of a file: a capture, and no evaluation or ablation, which the same reader opens."""

from ropediag.errors import ConfigError
from ropediag.store import Capture

OTHERWISE = {
    "ablation": "Look at an ablation with ropediag report, or ropediag dash, page Causes.",
    "attribution": "Look at an attribution with ropediag report, or ropediag dash, page Cost.",
    "evaluation": "See what an evaluation holds with ropediag info.",
}


def check_capture(opened: Capture) -> None:
    """Refuse an open file that is no capture.

    Raises
    ------
    ConfigError
        Names the file and the kind of file that it is.
    """
    if "scores" not in opened:
        kind = opened.attrs.get("kind", "file without scores")
        what = f"an {kind}" if kind[0] in "ae" else f"a {kind}"
        raise ConfigError(
            f"{opened.path} holds {what}, and what is needed is a capture, written by ropediag capture. "
            f"{OTHERWISE.get(kind, 'See what it holds with ropediag info.')}"
        )

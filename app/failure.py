"""What a reader is told when something cannot be shown."""

import logging
from typing import Any

from ropediag.errors import RopediagError

from .cards import show_message


def describe_failure(error: Exception) -> tuple[str, bool]:
    """Say what a reader can mend; anything else is a fault of ropediag (True), told in the terminal."""
    if isinstance(error, RopediagError):
        return str(error), False
    logging.getLogger(__name__).error("a part of the page failed", exc_info=error)
    return (
        f"This failed with {type(error).__name__}, a fault of ropediag. The terminal has the details.",
        True,
    )


def word_failure(error: Exception) -> Any:
    """Show that in the place of a part.

    A failed callback would leave what was there before, under the name of what was asked for now.
    """
    message, fault = describe_failure(error)
    return show_message(message, "red" if fault else "orange")

"""The errors ropediag raises on purpose: each says what is wrong, what came in and what to do.

Everything a user can cause is a ``RopediagError``; the command line prints its message on one line
and ends with status 2. Any other exception is a bug.
"""


class RopediagError(Exception):
    """Anything the caller can mend."""


class ConfigError(RopediagError, ValueError):
    """A value that cannot be used: a flag, an argument, a field of a config file."""


class ModelError(RopediagError):
    """A checkpoint or model that cannot be loaded, or that ropediag cannot read correctly."""


class CaptureError(RopediagError):
    """A capture that cannot start or that failed its own checks, or a file that the disk refuses."""


class FormatError(RopediagError):
    """A file that is not a readable ropediag file."""

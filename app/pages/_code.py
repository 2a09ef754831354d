"""The code beside a figure: the lines that most of it begins with."""

from pathlib import Path


def open_in_python(imports: str, **files: Path) -> str:
    """Write the lines that import what a figure needs and open its files.

    Parameters
    ----------
    imports : lines, without a newline at the end
    files : what the code calls each file -> where it is
    """
    opened = "".join(f"{name} = open_capture({str(path)!r})\n" for name, path in files.items())
    return f"from ropediag import open_capture\n{imports}\n{opened}"

"""``python -m ropediag`` is the command ``ropediag``; torchrun starts it so."""

from ropediag.cli import main

main()

"""Excess curves out to 1,024 times the training length, from evaluations of four models.

    for model in demo studies/models/*; do
        ropediag evaluate --model $model --len 131072 --trials 0 --out runs/$(basename $model).h5
    done
    python studies/extreme_lengths.py runs/*.h5

Writes ``studies/results/extreme-lengths.h5``.
"""

import sys
from contextlib import ExitStack
from pathlib import Path

from ropediag import open_capture
from ropediag.analysis.excess_curves import measure_excess_curves

OUT = Path(__file__).parent / "results" / "extreme-lengths.h5"

with ExitStack() as stack:
    opened = {Path(path).stem: stack.enter_context(open_capture(path)) for path in sys.argv[1:]}
    curves = measure_excess_curves(opened)
curves.to_netcdf(OUT, engine="h5netcdf")
print(f"wrote {OUT}")

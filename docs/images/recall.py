"""Draw recall by length and depth: ``python docs/images/recall.py EVALUATION IMAGE``.

Needs what ``breakdown.py`` needs.
"""

import sys

from ropediag import open_capture
from ropediag.analysis.recall import measure_recall_share
from ropediag.plots.recall import plot_recall

with open_capture(sys.argv[1]) as evaluation:
    figure = plot_recall(measure_recall_share(evaluation))
figure.write_image(sys.argv[2], width=800, scale=2)
print(f"wrote {sys.argv[2]}")

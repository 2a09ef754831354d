"""Draw the figure of a study: ``python docs/images/scaling_law.py TABLE [IMAGE]``.

Needs what ``breakdown.py`` needs.
"""

import sys
from pathlib import Path

from ropediag.plots.law import plot_law
from ropediag.store import open_study

figure = plot_law(open_study(sys.argv[1]))
image = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).with_name("scaling-law.svg")
figure.write_image(image, width=760, scale=2)
print(f"wrote {image}")

"""Draw the README's picture from a capture: ``python docs/images/breakdown.py CAPTURE [IMAGE]``.

Writing a picture needs kaleido and a Chromium beside ropediag; nothing else in the project does.
"""

import sys
from pathlib import Path

from ropediag import open_capture
from ropediag.analysis.breakdown import measure_breakdown
from ropediag.plots.breakdown import plot_breakdown

with open_capture(sys.argv[1]) as capture:
    figure = plot_breakdown(measure_breakdown(capture))
image = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).with_suffix(".svg")
figure.write_image(image, scale=2)
print(f"wrote {image}")

"""Report: captures and ablations as one HTML file that works offline, with the same figures as everywhere.

The file holds everything it needs: plotly once and all figures, packed, and a text for every figure where
JavaScript is off. What comes from a capture is escaped, and the page's policy lets no script run but its own.
"""

from ropediag.report.document import write_report

__all__ = ["write_report"]

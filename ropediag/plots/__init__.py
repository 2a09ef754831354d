"""Plots: one figure a file, from labelled arrays to one plotly Figure. They compute nothing.

Colours come from the PuOr scale, whose two ends stay apart for every kind of colour vision. No WebGL:
what is drawn has been averaged to some hundred points before it comes here.
"""

# For every figure that is shown or written: no upload to a cloud, no logo.
SHOW_CONFIG = {"showSendToCloud": False, "displaylogo": False}

"""Compare: several captures over each other, and one of them minus the selected one, diagnostic by diagnostic."""

import json
from typing import Any
from urllib.parse import parse_qsl, urlencode

import dash_mantine_components as dmc
import plotly.graph_objects as go
import xarray as xr
from dash import Dash, Input, Output, State, dcc, html, no_update

from ropediag.analysis.breakdown import measure_breakdown
from ropediag.analysis.compare import SCORES, list_comparisons, match, measure_one
from ropediag.analysis.diagnostic import list_diagnostics
from ropediag.analysis.difference_map import map_difference, rank_part
from ropediag.analysis.drift import measure_drift
from ropediag.analysis.limit_table import tabulate_limits
from ropediag.analysis.overlay import overlay_breakdowns, overlay_drifts
from ropediag.analysis.verdict import judge_capture
from ropediag.errors import ConfigError
from ropediag.plots.difference import plot_difference
from ropediag.plots.drift_curves import plot_drift_curves
from ropediag.plots.law import plot_law, plot_limits
from ropediag.plots.overlay import plot_overlay
from ropediag.store import open_study

from ..cards import show_choice, show_panel, show_part
from ..page import Choice, Page, Panel, Part
from ..view import Desk, View
from ._limits import show_limits
from ._selected import MANY, list_chosen, register_selected, show_selected

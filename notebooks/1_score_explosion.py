# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 1 A score explosion, dimension by dimension
#
# A language model that was trained at 128 tokens reads 8,192. Its loss breaks at once. **Which of its rotary
# dimensions do that, by how much, and from which distance on?**
#
# The capture was made by `ropediag capture --model demo --len 8192 --sequences 8`: the bundled model (4 layers,
# 2 heads, 32 rotary pairs, base 10,000) on held-out source code. It holds, for each pair of each head, the mean and
# the spread of what the pair adds to the attention logit at every distance (*lag*), over all query-key pairs.

# %%
from pathlib import Path

import numpy as np
import plotly.graph_objects as go

from ropediag import open_capture
from ropediag.analysis.breakdown import measure_breakdown
from ropediag.analysis.drift import measure_drift
from ropediag.analysis.explosions import measure_explosions
from ropediag.analysis.verdict import judge_capture
from ropediag.analysis.wording import word_verdict
from ropediag.plots.breakdown import plot_breakdown
from ropediag.plots.diagnostic import plot_diagnostic
from ropediag.plots.style import BEFORE, PAST, SHADE, TEMPLATE

capture = open_capture(Path("..") / "captures" / "example-8192.h5")
verdict = judge_capture(capture)
for sentence in word_verdict(verdict):
    print(f"{sentence['kind']}: {sentence['text']}")

# %% [markdown]
# ## The logit, split at the critical pair
#
# A pair turns by a fixed angle per token. The fast ones have made many turns within 128 tokens, the slow ones less
# than one: from pair 11 on (the *critical pair*), training has not shown the full circle. Summed over each of the
# two groups, what the pairs add to the logit of head 1 in layer 1:

# %%
plot_breakdown(measure_breakdown(capture, layer=1, query_head=1))

# %% [markdown]
# The fast pairs (purple) go on as they were. The slow ones (orange) leave the range that they had within the training
# length just where the loss does.
#
# ## Pair by pair
#
# How far does the mean contribution of each pair leave the range of its means within 128 tokens? This *drift* is
# counted in standard deviations that the contribution had there. A row is a pair, a column a head:

# %%
drift = measure_drift(capture)
plot_diagnostic(drift, "drift", capture.critical_pair)

# %% [markdown]
# The fast pairs meet no unseen angle, and the slowest hardly drift: within 8,192 tokens pair 31 turns by an angle that it has not
# left far behind. What explodes is a band just past the critical pair.

# %%
explosions = measure_explosions(capture)
table = explosions[
    ["layer", "query_head", "pair", "period", "drift", "move", "onset", "share"]
].to_dataframe()
table.head(10).round(2)

# %% [markdown]
# `move` is the drift in logits: one head's pair 14 alone moves the logit by more than 13, which multiplies an attention
# weight by a factor of a million. `onset` is the lag from which the pair stays outside.
#
# ## One dimension after the other
#
# Drag the slider (in an exported page without it: pair 14). The grey band is the range of the means within the
# training length.

# %%
mean = capture["scores/mean"].sel(layer=1, query_head=1).load()
lags = mean.lag.values
inside = mean.sel(lag=slice(1, 127))
critical = int(capture.critical_pair.sel(layer=1))
periods = 2 * np.pi / capture["rope/inv_freq"].sel(layer=1).values
figure, shown_first = go.Figure(), 14
for pair in mean.pair.values:
    own, colour = inside.sel(pair=pair), PAST if pair >= critical else BEFORE
    figure.add_scatter(
        x=lags[1:], y=mean.sel(pair=pair).values[1:], line={"color": colour}, visible=bool(pair == shown_first),
        name=f"pair {pair}, period {periods[pair]:,.0f} tokens", showlegend=True,
    )  # fmt: skip
    figure.add_scatter(
        x=[1, lags[-1], lags[-1], 1], y=np.repeat([float(own.min()), float(own.max())], 2), fill="toself",
        mode="none", fillcolor=SHADE, visible=bool(pair == shown_first), name="its range in training", showlegend=True,
    )  # fmt: skip
steps = [
    {
        "method": "update",
        "label": str(pair),
        "args": [{"visible": [trace // 2 == pair for trace in range(64)]}],
    }
    for pair in mean.pair.values
]
figure.add_vline(x=128, line_dash="dash")
figure.update_layout(
    template=TEMPLATE, height=520, sliders=[{"active": shown_first, "steps": steps, "currentvalue": {"prefix": "pair "}}],
    xaxis={"type": "log", "title": {"text": "lag (tokens)"}}, yaxis_title="mean contribution (logit)",
)  # fmt: skip
figure

# %% [markdown]
# ## What this shows, and what it does not
#
# In this model the score explosion is the work of few dimensions, those just past the critical pair, and it begins
# at lags just past the training length. That the loss breaks where they drift is a coincidence in time: whether they
# *cause* it is asked by intervention in notebook 4. It is one small model on one kind of text.

# %%
worst = table.iloc[0]
assert verdict.measured_limit is not None
assert 128 < verdict.measured_limit < 160
assert critical == 11
assert (table.pair.head(10) >= critical).all()
assert table.drift.head(10).between(1, 6).all()
assert drift.drift.sel(pair=slice(0, 10)).isnull().all()  # these pairs meet no unseen angle
assert float(worst.drift) > 0.25
assert table.move.abs().max() > 13

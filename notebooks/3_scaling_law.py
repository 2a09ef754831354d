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
# # 3 Larger and smaller bases: the scaling law
#
# The paper's law says how far a model reaches after tuning with another base, and that both larger and smaller bases
# help. **Does the law hold over a factor of 800 in the base, and what do smaller bases cost?**
#
# The table is that of `ropediag study studies/scaling-law.yaml --seeds 3`: the bundled model, tuned with 8 larger and 8
# smaller bases at its training length of 128 tokens, and with others at 512 tokens.

# %%
from pathlib import Path

import numpy as np
import plotly.graph_objects as go

from ropediag.plots.law import plot_law
from ropediag.plots.style import COLOURS, TEMPLATE
from ropediag.store import open_study
from ropediag.study.run import fit_table

table = open_study(Path("..") / "captures" / "example-study-scaling-law.h5")
rows = table.drop_dims(["position", "multiple"]).to_dataframe()
rows[["base", "tune_len", "seed", "predicted", "measured"]].head(12)

# %% [markdown]
# ## Larger bases

# %%
plot_law(table)

# %%
law = fit_table(table)
print(f"slope {law.slope:.2f} (95 % interval {law.low:.2f} to {law.high:.2f}), R² {law.r_squared:.3f}")
print(f"measured / predicted: {law.ratio_low:.2f} to {law.ratio_high:.2f}")

# %% [markdown]
# The models lie on a line, so the law ranks them rightly; but its slope is not 1. At small bases the law is near, at the
# largest a model reaches 1.6 times further than predicted, with every seed.
#
# ## Smaller bases
#
# Here the law sets no limit, and there is no cliff. What the smaller bases lose they lose everywhere:

# %%
small = (
    rows[rows.tuned & (rows.tune_len == 128) & (rows.base < 10_000)].groupby("base").mean(numeric_only=True)
)
figure = go.Figure()
for index, (name, column) in enumerate(
    {
        "steepest rise past 128 tokens (nats)": "steepest_rise",
        "cost within 128 tokens (nats)": "short_context_cost",
    }.items()
):
    figure.add_scatter(
        x=small.index, y=small[column], name=name, mode="lines+markers", line={"color": COLOURS[index]}
    )
figure.update_layout(
    template=TEMPLATE, height=420, xaxis={"type": "log", "title": {"text": "base"}},
    yaxis={"title": {"text": "nats per token"}, "rangemode": "tozero"},
)  # fmt: skip
figure

# %% [markdown]
# ## The loss along the text
#
# The excess is the loss with the whole context minus that with at most 128 tokens of it. Below zero the long context
# helps; a model breaks where it rises.

# %%
shown = ["demo", "demo-b160000-t128-s0", "demo-b16000000-t128-s0", "demo-b500-t128-s0", "demo-b20-t128-s0"]
figure = go.Figure()
for index, name in enumerate(shown):
    figure.add_scatter(
        x=table.position, y=table.excess.sel(model=name), name=name, line={"color": COLOURS[index]}
    )
figure.update_layout(
    template=TEMPLATE, height=460, xaxis={"type": "log", "title": {"text": "position (tokens)"}},
    yaxis={"title": {"text": "excess (nats per token)"}},
)  # fmt: skip
figure

# %% [markdown]
# ## What this shows, and what it does not
#
# For this one small model the law gets the order of the bases right and the length right within a factor of 1.65. A
# smaller base trades the cliff for a slow rise and for loss within the training length. Notebook 6 asks what the law
# gets wrong; recall is a matter of its own, and fails earlier
# ([docs/scaling-law.md](../docs/scaling-law.md#low-loss-is-not-retrieval)).

# %%
assert (round(law.slope, 2), round(law.r_squared, 3)) == (1.22, 1.0)
assert (round(law.ratio_low, 2), round(law.ratio_high, 2)) == (0.98, 1.65)
assert small.steepest_rise.loc[2500] > 1 > 0.6 > small.steepest_rise.loc[500]
assert np.isclose(small.short_context_cost.loc[20], 0.21, atol=0.01)

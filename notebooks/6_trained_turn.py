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
# # 6 When does a pair count as trained?
#
# The paper's law counts a rotary pair as trained once pretraining has shown it a full turn. Measured limits come out
# longer than that law says (notebook 3). **Is a full turn too strict, and if so, which share of a turn is it?**
#
# The table is that of `ropediag study studies/coverage.yaml`: 32 models pretrained on two corpora (code, prose), with two
# bases, at two lengths, in two shapes (Llama with 32 pairs a head; GPT-NeoX with 16 pairs in half of each head) and with
# two seeds; each tuned with four larger bases, and each captured.

# %%
from pathlib import Path

import numpy as np

from ropediag.analysis.laws import compare_laws, list_models
from ropediag.analysis.unseen_swing import unseen_swing
from ropediag.plots.laws import plot_laws
from ropediag.plots.turns import plot_damage_by_turns, plot_drift_by_turns
from ropediag.store import open_study

RESULTS = Path("..") / "studies" / "results"
coverage, turns = open_study(RESULTS / "coverage.h5"), open_study(RESULTS / "turns.h5")
models = list_models(coverage)
print(
    f"{coverage.sizes['model']} models, {len(models)} of them tuned; {float(coverage.cpu_seconds.sum()) / 3600:.1f} CPU hours"
)

# %% [markdown]
# ## Laws, fitted on one half and judged on the other
#
# A law with another share counts a pair as trained after 1 / kappa turns. Kappa is fitted on the models whose name has an
# even hash; all laws are judged on the others. 0.1 is an error of a tenth.

# %%
compared = compare_laws(models)
plot_laws(compared)

# %%
names = ["kappa", "kappa_low", "kappa_high", "median", "median_low", "median_high", "high", "ratio", "count"]
table = compared[names].to_dataframe()
table.round(3)

# %% [markdown]
# Models of one parent stand in both halves of that table. With whole parents in one half or the other:

# %%
by_parent = compare_laws(models, "parent")
by_parent[names].to_dataframe().round(3)

# %% [markdown]
# ## What the untuned models did
#
# Each dot is one pair of one untuned model: how far it left its range past the training length, over the share of a turn
# that training had shown of it. Whatever base, length, shape and text, the pairs fall on one curve.

# %%
plot_drift_by_turns(coverage)

# %% [markdown]
# The dotted curve is geometry alone: a cosine of random phase was seen for that share of a turn; how far does the rest of
# it leave what was seen? It is small long before it is zero.

# %%
shares = np.array([0.5, 0.625, 0.75, 0.875, 1.0])
dict(zip(shares.tolist(), unseen_swing(shares).round(3).tolist(), strict=True))

# %% [markdown]
# ## Chosen turns
#
# In a study of its own (`studies/turns.yaml`) the base is chosen such that the slowest pair makes exactly so many turns, and
# every other pair more:

# %%
plot_damage_by_turns(turns, 2)

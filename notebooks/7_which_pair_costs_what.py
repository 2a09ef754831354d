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
# # 7 Which pair costs what
#
# Notebook 4 showed that the pairs just past the critical one do the damage, all together. **How much of it is whose?**
# A *nat* is the unit of the loss, the natural logarithm of a probability; the *trained reach* of a rotary pair is the
# longest lag up to which training showed all its angles. An attribution splits what angles beyond the reach cost the
# loss, in nats, over layers, heads, pairs and lags. The parts add up ([how](../docs/attribution.md)).
#
# ## The bundled model
#
# `ropediag attribute --model demo --len 512` made this file: 8 sequences of 512 tokens, four times the training length.

# %%
import tempfile
from pathlib import Path

import numpy as np
import torch

from ropediag import AttributeConfig, attribute_model, load_model, open_capture
from ropediag.analysis.attribution import list_top, measure_attribution, word_attribution
from ropediag.intervene import Intervention, intervene
from ropediag.models.inputs import read_inputs
from ropediag.plots.attribution import plot_cost_by_head, plot_cost_waterfall
from ropediag.tune.tune import tune_model
from ropediag.tune.tune_config import TuneConfig

FOLDER = Path("..") / "captures"
untuned = measure_attribution(open_capture(FOLDER / "example-8192-attribution.h5")).load()
print(*word_attribution(untuned), sep="\n")
plot_cost_waterfall(untuned)

# %% [markdown]
# From the loss in windows of the training length, over the pairs, to the loss as it is. By layer and head, the number in
# each cell is the pair that costs most there:

# %%
plot_cost_by_head(untuned)

# %% [markdown]
# ## One pair at a time
#
# The same question by intervention, without any gradient: what returns when *only this* pair is held at 0.85 of its reach,
# and what is lost when *only it* is let go while all others are held. The part of the sum should lie between the two. The
# text is the same; every slow pair of this model has a reach of 128 tokens, its training length.

# %%
config = AttributeConfig("demo", 512, sequences=8)
model, tokens = load_model("demo").model, torch.tensor(read_inputs(config)[1])
LIMIT, START = 0.85 * 128, untuned.attrs["start"]
slow = untuned.pair.values.tolist()


@torch.inference_mode()
def lose(pairs: list[int]) -> float:
    """Mean loss past the reach with these pairs clipped in every layer and head, nats a token."""
    with intervene(model, Intervention("clip", pairs=pairs, limit=LIMIT), length=512):
        logits = model(tokens, use_cache=False).logits[:, START - 1 : -1]
    return float(torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, START:].flatten()))


with torch.inference_mode():
    logits = model(tokens, use_cache=False).logits[:, START - 1 : -1]
as_it_is = float(torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, START:].flatten()))
held = lose(slow)
part = untuned.by_pair.to_series()
single = {
    pair: (
        as_it_is - lose([pair]),
        float(part[pair]),
        lose([other for other in slow if other != pair]) - held,
    )
    for pair in (12, 13, 14, 15, 20)
}
print(f"as it is {as_it_is:.2f}, all slow pairs held {held:.2f}: {as_it_is - held:.2f} nats")
print("pair   repaired alone   its part   damaged alone")
for pair, numbers in single.items():
    print(f"{pair:>4} {numbers[0]:>16.3f} {numbers[1]:>10.3f} {numbers[2]:>15.3f}")

# %% [markdown]
# Repairing pair 14 alone returns less than its part, since pair 15 then still does its own damage; letting it go alone
# costs more. The part of pair 13 lies above both of its numbers: it shares the damage of pair 14 in the same head, which
# neither sees. All three agree on who matters: 14 first, then 15 and 13, and pair 20 not at all.
#
# ## Tuned to a larger base
#
# The model of base 160,000 turns more slowly, and its reaches are longer. At 1,024 tokens:

# %%
tuned = measure_attribution(open_capture(FOLDER / "example-tuned-b160000-8192-attribution.h5")).load()
print(*word_attribution(tuned), sep="\n")
plot_cost_waterfall(tuned)

# %% [markdown]
# ## Under YaRN, untrained
#
# YaRN turns the slow pairs more slowly by a rule. Nothing is trained here: the rule goes into the config alone.

# %%
with tempfile.TemporaryDirectory() as folder:
    ruled = Path(folder) / "demo-yarn4"
    tune_model(TuneConfig("demo", out=ruled, scaling="yarn", factor=4.0, steps=0))
    text = torch.tensor(read_inputs(AttributeConfig("demo", 768, sequences=4))[1])
    yarn = attribute_model(load_model(str(ruled)).model, text, tolerance=0.05, points=17).table
print(*word_attribution(yarn), sep="\n")
plot_cost_waterfall(yarn)

# %% [markdown]
# ## What this shows, and what it does not
#
# In each of these models pair 14 carries most of the cost, most of that in two heads; the critical pair is 11. Pair 15 of the
# bundled model drifts as far as pair 14 and costs less than a quarter of it. Parts share joint effects among those that act
# together, so a part is not what repairing that pair alone would bring. An attribution says nothing about *other causes*.

# %%
assert untuned.by_pair.idxmax() == 14
assert abs(float(untuned.missed)) <= 0.02 * float(untuned.difference)
assert list_top(untuned, 1)[0]["layer"] == 1
assert single[14][1] > 3 * single[13][1] > 10 * abs(single[20][1])
assert single[14][0] < single[14][1] * 1.1
assert tuned.by_pair.idxmax() == 14
assert np.isclose(float(yarn.total), float(yarn.difference), rtol=0.05)
assert float(yarn.total) > 0.3

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
# # 4 Proof by intervention
#
# The pairs past the critical one drift where the loss breaks (notebook 1). **Do they break it?** If so, a model whose
# slow pairs are kept within the lags they know should read on, and one whose fast pairs are kept so should not.
#
# `ropediag ablate` runs the model with the lag of chosen pairs *clipped*: they turn as far as they did in training, and
# no further. *Repaired* is the share of the damage that this undoes: 0 % is the model as it was, 100 % as good as with
# no more context than its training length. The bundled model reads 1,024 tokens, 8 times its training length, on 8
# sequences; random sets of as many pairs stand beside. `captures/make_ablations.sh` made the files.

# %%
from pathlib import Path

import torch

from ropediag import load_model, open_capture
from ropediag.analysis.repair_curves import measure_repair_curves
from ropediag.analysis.repairs import measure_repairs
from ropediag.intervene import Intervention, intervene
from ropediag.plots.repair_curves import plot_repair_curves
from ropediag.plots.repairs import plot_repairs

FOLDER = Path("..") / "captures"
FILES = {
    "11 to 31: past": "clip-past",
    "12 to 15": "clip-12-15",
    "0 to 10: before": "clip-before",
    "16 to 31": "clip-16-31",
    "11 to 31, clipped at 96": "clip-past-96",
}
ablations = {name: open_capture(FOLDER / f"example-ablation-{file}.h5") for name, file in FILES.items()}
repairs = measure_repairs(ablations)
plot_repairs(repairs)

# %%
names = ["repaired", "repaired_low", "repaired_high", "random_mean"]
shares = repairs[names].sel(multiple=8).to_dataframe()[names]
(100 * shares).round(0)

# %% [markdown]
# Four pairs, 12 to 15, carry the damage: clipping them repairs as much as clipping all pairs past the critical one. The
# fast pairs carry none of it, and neither do the slowest sixteen. Where the loss is repaired:

# %%
plot_repair_curves(measure_repair_curves(ablations["11 to 31: past"]))

# %% [markdown]
# ## On a model of your own, in three lines
#
# `intervene` changes any loaded transformers model within a `with` block. Here, with 512 tokens of this repository's
# README (the bundled model reads bytes):

# %%
loaded = load_model("demo").model
text = (Path("..") / "README.md").read_bytes()[:512]
tokens = torch.tensor([list(text)])


@torch.inference_mode()
def last_quarter(model: torch.nn.Module) -> float:
    """Loss over the last quarter of the text, nats per token."""
    logits = model(tokens, use_cache=False).logits[0, 383:-1]
    return float(torch.nn.functional.cross_entropy(logits, tokens[0, 384:]))


untouched = last_quarter(loaded)
changed = {}
for name, pairs in {"slow pairs clipped": range(11, 32), "fast pairs clipped": range(11)}.items():
    with intervene(loaded, Intervention("clip", pairs=pairs, limit=96)):
        changed[name] = last_quarter(loaded)
print(f"untouched {untouched:.2f}", *(f"{name} {loss:.2f}" for name, loss in changed.items()), sep="\n")

# %% [markdown]
# ## What this shows, and what it does not
#
# In this model the pairs just past the critical one cause the damage: keep them within the lags they know, and it is
# gone, all of it if they are clipped a little earlier than training ended. That names a cause, not a remedy: a clipped
# model reads on, but does not use the long context. And it is one small model; `ropediag ablate --model YOURS` asks yours.

# %%
repaired = shares.repaired
assert repaired["11 to 31: past"] > 0.6
assert repaired["12 to 15"] > 0.6
assert abs(repaired["0 to 10: before"]) < 0.1
assert abs(repaired["16 to 31"]) < 0.1
assert repaired["11 to 31, clipped at 96"] > 0.9
assert changed["slow pairs clipped"] + 0.5 < untouched
assert changed["fast pairs clipped"] > changed["slow pairs clipped"] + 0.5

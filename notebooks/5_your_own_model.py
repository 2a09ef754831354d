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
# # 5 Your own model
#
# **What does ropediag say of a model that it has never seen?** Any decoder of transformers whose attention rotates can
# be captured: as a checkpoint on the command line, as a model object in memory, or under a TransformerLens bridge. Here
# the model is a checkpoint in `studies/models`, tuned with base 160,000; put your own folder or hub id in its place.

# %%
import tempfile
from pathlib import Path

import torch
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from ropediag import capture_model, open_capture, predict
from ropediag.analysis.breakdown import measure_breakdown
from ropediag.analysis.verdict import judge_capture
from ropediag.analysis.wording import word_verdict
from ropediag.lens import compare_hooks
from ropediag.plots.breakdown import plot_breakdown

logging.disable_progress_bar()
PATH = Path("..") / "studies" / "models" / "demo-b160000-t128-s0"
model = AutoModelForCausalLM.from_pretrained(PATH)
tokenizer = AutoTokenizer.from_pretrained(PATH)
out = Path(tempfile.mkdtemp())

# %% [markdown]
# ## Before it runs
#
# The laws need two numbers that few checkpoints state: the length and the base of *pretraining*. This one remembers
# them; for yours, pass `train_len` and `pretrain_base`, here and below.

# %%
prediction = predict(PATH)
print(
    f"critical dimension {prediction.critical_dimension} of {prediction.rotary_dim}; predicted limit {prediction.predicted_limit:,.0f} tokens"
)
print(prediction.law)

# %% [markdown]
# ## Your own text
#
# A capture takes token ids, one row a sequence. Two sequences are the least for an interval, eight are better. Held-out
# text of the kind that the model was trained on makes the loss mean something: here the library's own source code.

# %%
files = sorted(Path("../ropediag").rglob("*.py"))
text = "\n".join(path.read_text(encoding="utf-8") for path in files)
ids = torch.tensor(tokenizer(text)["input_ids"][: 4 * 2048]).reshape(4, 2048)

# %%
path = capture_model(
    model, ids, out / "own.h5", tokenizer=tokenizer, train_len=128, pretrain_base=10_000, excess=True
)
capture = open_capture(path)
verdict = judge_capture(capture)
for sentence in word_verdict(verdict):
    print(f"{sentence['kind']}: {sentence['text']}")

# %%
plot_breakdown(measure_breakdown(capture))

# %% [markdown]
# ## Any array, labelled
#
# A capture is labelled arrays ([captures/README.md](../captures/README.md) lists all of them), read when they are used.
# In which heads does pair 12 move most beyond 128 tokens, in logits?

# %%
mean = capture["scores/mean"].sel(pair=12)
moved = abs(mean.sel(lag=slice(128, None)).mean("lag") - mean.sel(lag=slice(0, 127)).mean("lag"))
moved.to_pandas().round(2)

# %% [markdown]
# ## Under a TransformerLens bridge
#
# `capture_model` and `intervene` take a bridge as they take the model. `compare_hooks` holds what the bridge's hook
# points say of rotated queries, keys and logits against what ropediag taps; largest relative deviations:

# %%
bridge = TransformerBridge.boot_transformers(str(PATH), hf_model=model, tokenizer=tokenizer)
deviations = compare_hooks(bridge, ids[:1, :256])
deviations

# %%
bridge.original_model.set_attn_implementation("sdpa")  # spares the bridge's square of scores
again = open_capture(
    capture_model(bridge, ids, out / "bridge.h5", train_len=128, pretrain_base=10_000, name="bridge")
)
difference = float(abs(again["scores/mean"] - capture["scores/mean"]).max())
print(f"largest difference of a mean contribution: {difference:.1e} logits")

# %% [markdown]
# ## What this shows, and what it does not
#
# The same three lines capture a model of any size that fits the memory; `ropediag capture --dry-run` says what it takes,
# and [docs/models.md](../docs/models.md) which families were checked. What a verdict says holds for the text it was
# measured on.

# %%
assert verdict.predicted_limit is not None
assert round(verdict.predicted_limit) == 386
assert verdict.measured_limit is not None
assert 386 < verdict.measured_limit < 600
assert max(deviations.values()) < 1e-4
assert difference < 1e-4

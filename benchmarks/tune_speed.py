"""Tokens a second of processor time of `ropediag tune` over those of the plainest PyTorch loop that does the same.

    python benchmarks/tune_speed.py --pairs 4 --out benchmarks/results/tune_speed.json

Each run is a separate process, A B A B ..., with one thread: A is the loop (same model, windows, optimiser, schedule,
clipping and precision, nothing else), B the Trainer run of ropediag. Time starts once model and text are
loaded; both do a few steps before it.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from apart import run_apart
from record import describe_run, write_results

WARM_UP = 5  # steps before the clock starts


def load(options: argparse.Namespace):
    """Load the model with its new base, and the windows."""
    import numpy as np
    import torch

    from ropediag.models.load import load_model
    from ropediag.tune.corpus import read_standard_library
    from ropediag.tune.windows import TrainingWindows

    rope = {"rope_type": "default", "rope_theta": options.base}
    model = load_model(options.model, device="cpu", dtype="float32", changes={"rope_parameters": rope}).model
    text = np.frombuffer(read_standard_library("train").text, dtype=np.uint8)
    count = (options.steps + WARM_UP) * options.batch
    torch.set_num_threads(options.threads)
    return model, TrainingWindows(text, options.length, count, 0.15, 0)


def run_loop(options: argparse.Namespace) -> float:
    """Time the plain loop, seconds of the processor."""
    import torch

    from ropediag.models.compute_type import training_type

    model, windows = load(options)
    half = training_type()[0] == "bfloat16"
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = model.to(device).train()
    named = dict(model.named_parameters())
    decayed = [parameter for name, parameter in named.items() if "norm" not in name]
    rest = [parameter for name, parameter in named.items() if "norm" in name]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95), fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, options.steps + WARM_UP)
    loader = torch.utils.data.DataLoader(windows, batch_size=options.batch)
    for step, batch in enumerate(loader):
        if step == WARM_UP:
            start = time.process_time()
        tokens = batch["input_ids"].to(device)
        with torch.autocast(device, dtype=torch.bfloat16, enabled=half):
            loss = model(input_ids=tokens, labels=tokens, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
    loss.item()
    return time.process_time() - start


def run_tune(options: argparse.Namespace) -> float:
    """Time the Trainer run of ``ropediag tune``, seconds of the processor."""
    from transformers import TrainerCallback

    from ropediag.tune.trainer import Recipe, run_trainer

    class Clock(TrainerCallback):
        """Notes when the warm-up ends."""

        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == WARM_UP:
                self.start = time.process_time()

        def on_train_end(self, args, state, control, **kwargs):
            self.seconds = time.process_time() - self.start

    model, windows = load(options)
    steps, clock = options.steps + WARM_UP, Clock()
    recipe = Recipe(steps=steps, batch=options.batch, lr=1e-3, warmup_steps=steps // 10, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        run_trainer(model, windows, recipe, Path(folder), lambda line: None, callbacks=(clock,))
    return clock.seconds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="demo")
    parser.add_argument("--base", type=float, default=1e6)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--pairs", type=int, default=3, help="how often A and B are run, in turn")
    parser.add_argument("--out", type=Path, help="JSON file: tokens a second of each run")
    parser.add_argument("--once", choices=("loop", "tune"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.once:
        print(json.dumps((run_loop if options.once == "loop" else run_tune)(options)))
        return
    about = describe_run(options.threads)
    rates: dict[str, list[float]] = {"loop": [], "tune": []}
    tokens = options.steps * options.batch * options.length
    for _ in range(options.pairs):
        for what, found in rates.items():
            found.append(tokens / run_apart(__file__, ["--once", what, *sys.argv[1:]]))
            print(f"{what:5} {found[-1]:10,.0f} tokens a second of processor time", flush=True)
    ratios = [tune / loop for loop, tune in zip(*rates.values(), strict=True)]
    print(f"tune / loop median {statistics.median(ratios):.2f} (each {[round(r, 2) for r in ratios]})")
    if options.out:
        asked = {name: getattr(options, name) for name in ("model", "base", "batch", "length", "steps")}
        write_results(options.out, about, asked | {"tokens a second": rates})


if __name__ == "__main__":
    main()

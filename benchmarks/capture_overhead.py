"""What a capture costs over the plain forward pass it rides on.

    python benchmarks/capture_overhead.py --len 2048 8192 16384 32768 65536 --out benchmarks/results/capture_overhead.json

Each run is a separate process, A B A B ..., with one thread (several wait for one another, and waiting counts
as processor time): A is the decoder and the loss in slices, B is the whole capture of the same tokens at
default settings but for the windowed loss, C that windowed loss alone. Time starts once model and tokens are
loaded; memory is the peak resident size minus the one after loading (on a GPU, the peak of the allocator minus
what the model holds).
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path

from apart import Figures, measure, run_apart
from record import describe_run, write_results


def run_once(options: argparse.Namespace) -> Figures:
    """Measure one run in this process."""
    import torch

    torch.set_num_threads(options.threads)

    from ropediag.capture import capture_model
    from ropediag.models.load import load_model
    from ropediag.models.loss import decode, nll_by_position, nll_windowed
    from ropediag.text import read_token_sequences

    (length,) = options.lengths
    loaded = load_model(options.model, device=options.device, dtype=options.dtype)
    ids = read_token_sequences(None, loaded.tokenizer, length, 1, 0)
    model = loaded.model
    train_len = json.loads((loaded.directory / "ropediag.json").read_text())["train_len"]
    tensor = torch.tensor(ids, device=model.device)
    nll_by_position(model, tensor[:, :256], decode(model, tensor[:, :256]))  # loads kernels, fills pools

    def capture() -> None:
        with tempfile.TemporaryDirectory() as folder:
            capture_model(model, ids, Path(folder) / "capture.h5", train_len=train_len, excess=False)

    works = {
        "plain": lambda: nll_by_position(model, tensor, decode(model, tensor)),
        "capture": capture,
        "windowed": lambda: nll_windowed(model, tensor[0], train_len),
    }
    return measure(works[options.once], model.device)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="demo")
    parser.add_argument("--len", dest="lengths", type=int, nargs="+", default=[65536])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--pairs", type=int, default=3, help="how often A and B are run, in turn")
    parser.add_argument("--out", type=Path, help="JSON file for every run")
    parser.add_argument("--once", choices=("plain", "capture", "windowed"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.once:
        print(json.dumps(run_once(options)))
        return
    about = describe_run(options.threads)
    runs = {length: compare(length, options) for length in options.lengths}
    if options.out:
        asked = {"model": options.model, "device": options.device, "dtype": options.dtype}
        write_results(options.out, about, asked | {"runs": runs})


def compare(length: int, options: argparse.Namespace) -> dict[str, list[Figures]]:
    """Measure all three at one length, and print the ratios."""
    runs: dict[str, list[Figures]] = {"plain": [], "capture": [], "windowed": []}
    for turn in range(options.pairs):
        for what in ("plain", "capture", "windowed") if turn == 0 else ("plain", "capture"):
            arguments = ["--once", what, "--model", options.model, "--len", str(length)]
            arguments += ["--device", options.device, "--dtype", options.dtype]
            arguments += ["--threads", str(options.threads)]
            runs[what].append(run_apart(__file__, arguments))
            wall, processor, size = runs[what][-1].values()
            print(
                f"{length:7} {what:9} {wall:8.2f} s, {processor:8.2f} s of processors, {size / 2**20:8.0f} MiB",
                flush=True,
            )
    for figure in ("seconds", "processor"):
        ratios = [b[figure] / a[figure] for a, b in zip(runs["plain"], runs["capture"], strict=True)]
        each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"{length:7} {figure}: capture / plain median {statistics.median(ratios):.2f} (each {each})")
    share = runs["windowed"][0]["processor"] / runs["plain"][0]["processor"]
    print(f"{length:7} processor: windowed loss / plain {share:.2f}", flush=True)
    return runs


if __name__ == "__main__":
    main()

"""What the loss of a model with a large vocabulary costs, by the positions that one call of the head takes.

    python benchmarks/large_vocabulary.py | tee benchmarks/results/large_vocabulary.txt

A random Gemma 3 of two layers, with the vocabulary and the width of its smallest release: 262,144 x 640.
Each run is a separate process, A B A B ...: A calls the head on 8 positions at a time, as many as 8 MiB of
logits hold, B on as many as ``head_rows`` says. The pass through the layers is left out; windows are whole.
"""

import argparse
import json
import statistics

from apart import Figures, measure, run_apart

VOCABULARY, WIDTH, FEW = 262_144, 640, 8


def run_once(what: str, tokens: int, window: int, rows: int | None) -> Figures:
    """Measure one run in this process."""
    import torch
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    from ropediag.models import loss

    torch.manual_seed(0)
    config = Gemma3TextConfig(
        vocab_size=VOCABULARY, hidden_size=WIDTH, intermediate_size=2048, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=1, head_dim=256,
    )  # fmt: skip
    model = Gemma3ForCausalLM(config).eval()
    ids = torch.randint(0, VOCABULARY, (1, tokens))
    if rows is not None:
        loss.head_rows = lambda vocabulary, device: rows
    output = loss.decode(model, ids)
    works = {
        "whole": lambda: loss.nll_by_position(model, ids, output),
        "windows": lambda: loss.nll_windowed(model, ids[0], window),
    }
    return measure(works[what], ids.device)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--len", dest="tokens", type=int, default=4096)
    parser.add_argument("--window", type=int, default=1024)
    parser.add_argument("--pairs", type=int, default=3, help="how often A and B are run, in turn")
    parser.add_argument("--once", choices=("whole", "windows"), help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.once:
        print(json.dumps(run_once(options.once, options.tokens, options.window, options.rows)))
        return
    for what in ("whole", "windows"):
        compare(what, options)


def compare(what: str, options: argparse.Namespace) -> None:
    """Measure both in turn, and print the ratios."""
    runs: dict[str, list[Figures]] = {"few": [], "many": []}
    for _ in range(options.pairs):
        for name in runs:
            arguments = ["--once", what, "--len", str(options.tokens), "--window", str(options.window)]
            arguments += ["--rows", str(FEW)] if name == "few" else []
            runs[name].append(run_apart(__file__, arguments))
            figures = runs[name][-1]
            print(
                f"{what:8} {name:5} {figures['processor']:8.1f} s of processors, {figures['seconds']:8.1f} s, "
                f"{figures['bytes'] / 2**20:6.0f} MiB",
                flush=True,
            )
    for figure in ("processor", "bytes"):
        ratios = [a[figure] / b[figure] for a, b in zip(runs["few"], runs["many"], strict=True)]
        print(f"{what:8} {figure}: few over many {statistics.median(ratios):.2f}", flush=True)


if __name__ == "__main__":
    main()

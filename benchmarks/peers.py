"""What peers take for the rotated queries and keys of every layer, beside a whole capture and a plain pass.

    pip install ".[nnsight]"
    python benchmarks/peers.py --out benchmarks/results/peers.json

Each run is a separate process with one thread (several wait for one another, and waiting counts as
processor time), all ways in turn at each length. Every way gets its best settings: no gradients, only the
last position's logits (the plain pass and the capture take the loss at all of them), hooks only where
something is read. A way whose memory, continued with the square of the length from its last two runs, would
not fit is left out, and what it would have needed is written down.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from apart import Figures, measure, run_apart
from record import PACKAGES, describe_run, write_results

LENGTHS = (512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)
WARM_UP = 256  # tokens
ENOUGH = 60  # seconds of one way at one length: no further run after them


def plain(loaded: Any) -> Callable[[Any], Any]:
    """Decoder and sliced loss."""
    from ropediag.models.loss import decode, nll_by_position

    return lambda ids: nll_by_position(loaded.model, ids, decode(loaded.model, ids))


def capture(loaded: Any) -> Callable[[Any], Any]:
    """The whole capture into its file, loss at every position included."""
    from ropediag.capture import capture_model

    def work(ids: Any) -> None:
        with tempfile.TemporaryDirectory() as folder:
            capture_model(loaded.model, ids, Path(folder) / "capture.h5", train_len=128, excess=False)

    return work


def output_attentions(loaded: Any) -> Callable[[Any], Any]:
    """transformers' probabilities of every layer, eager."""
    loaded.model.set_attn_implementation("eager")
    options = {"output_attentions": True, "use_cache": False, "logits_to_keep": 1}
    return lambda ids: loaded.model(ids, **options).attentions


def lens_whole(loaded: Any) -> Callable[[Any], Any]:
    """TransformerLens, hook_rot_q and hook_rot_k of one pass."""
    bridge = boot(loaded)

    def work(ids: Any) -> Any:
        return bridge.run_with_cache(ids, names_filter=is_rotated, return_type=None, logits_to_keep=1)[1]

    return work


def lens_in_chunks(loaded: Any, chunk: int = 1024) -> Callable[[Any], Any]:
    """The same hooks by hand: chunks of tokens through a cache of keys and values."""
    import torch
    from transformers import DynamicCache

    bridge = boot(loaded)

    def work(ids: Any) -> dict[str, Any]:
        kept: dict[str, list] = {}
        hooks = [(is_rotated, lambda tensor, hook: kept.setdefault(hook.name, []).append(tensor))]
        cache = DynamicCache(config=loaded.model.config)
        for part in ids.split(chunk, dim=1):
            options = {"past_key_values": cache, "return_type": None, "logits_to_keep": 1}
            bridge.run_with_hooks(part, fwd_hooks=hooks, **options)
        return {name: torch.cat(pieces, dim=1) for name, pieces in kept.items()}

    return work


def nnsight_trace(loaded: Any) -> Callable[[Any], Any]:
    """nnsight on the model's own attention: the rotated queries and keys of each layer."""
    from nnsight import NNsight

    wrapped = NNsight(loaded.model)
    layers = range(loaded.model.config.num_hidden_layers)

    def work(ids: Any) -> list:
        kept = []
        with wrapped.trace(ids, use_cache=False, logits_to_keep=1):
            for layer in layers:
                attention = wrapped.model.layers[layer].self_attn
                kept.append(attention.source.apply_rotary_pos_emb_0.output.save())
        return kept

    return work


WAYS = {
    "plain": plain,
    "ropediag": capture,
    "nnsight": nnsight_trace,
    "TransformerLens": lens_whole,
    "TransformerLens in chunks": lens_in_chunks,
    "output_attentions": output_attentions,
}


def boot(loaded: Any) -> Any:
    from transformer_lens.model_bridge import TransformerBridge

    return TransformerBridge.boot_transformers(
        str(loaded.directory), hf_model=loaded.model, tokenizer=loaded.tokenizer
    )


def is_rotated(name: str) -> bool:
    return name.endswith(("hook_rot_q", "hook_rot_k"))


def run_once(way: str, model: str, length: int, threads: int) -> Figures:
    """Measure one way in this process, after a short warm-up."""
    import torch

    torch.set_num_threads(threads)

    from ropediag.models.load import load_model
    from ropediag.text import read_token_sequences

    loaded = load_model(model)
    ids = torch.tensor(read_token_sequences(None, loaded.tokenizer, length, 1, 0))
    work = WAYS[way](loaded)
    with torch.no_grad():
        work(ids[:, :WARM_UP])
        return measure(lambda: work(ids), loaded.model.device)


def median(runs: list[Figures], figure: str) -> float:
    return statistics.median(run[figure] for run in runs)


def expect_bytes(found: dict[int, list[Figures]], length: int) -> float:
    """Peak memory at a length by a n + b n^2 through the last two lengths, in bytes; 0 before there are two."""
    if len(found) < 2:
        return 0.0
    (short, less), (long, more) = ((n, median(runs, "bytes")) for n, runs in list(found.items())[-2:])
    square = max(0.0, (more / long - less / short) / (long - short))
    return (more / long - square * long) * length + square * length**2


def free_bytes() -> int:
    line = next(row for row in Path("/proc/meminfo").read_text().splitlines() if row.startswith("MemAvail"))
    return int(line.split()[1]) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="demo")
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS)
    parser.add_argument("--runs", type=int, default=3, help="of each way at each length, in turn")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--once", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.once:
        print(json.dumps(run_once(options.once, options.model, options.lengths[0], options.threads)))
        return
    about = describe_run(options.threads, (*PACKAGES, "transformer-lens", "nnsight"))
    found: dict[str, dict[int, list[Figures]]] = {way: {} for way in WAYS}
    needed: dict[str, dict[int, float]] = {way: {} for way in WAYS}
    for length in options.lengths:
        expected = {way: expect_bytes(found[way], length) for way in WAYS}
        fitting = [way for way in WAYS if expected[way] < 0.8 * free_bytes() and not needed[way]]
        for way in WAYS.keys() - set(fitting):
            needed[way][length] = expected[way]
        for _ in range(options.runs):
            for way in fitting:
                if sum(run["seconds"] for run in found[way].get(length, [])) > ENOUGH:
                    continue
                arguments = ["--once", way, "--model", options.model, "--lengths", str(length)]
                arguments += ["--threads", str(options.threads)]
                found[way].setdefault(length, []).append(run_apart(__file__, arguments))
        print_length(length, found, needed)
    if options.out:
        write_results(options.out, about, {"model": options.model, "runs": found, "needed": needed})


def print_length(length: int, found: dict, needed: dict) -> None:
    floor = found["plain"][length]
    for way in WAYS:
        if length in needed[way]:
            print(f"{length:6}  {way:26} would need {needed[way][length] / 2**30:.0f} GiB", flush=True)
            continue
        runs = found[way][length]
        ratio = median(runs, "processor") / median(floor, "processor")
        print(
            f"{length:6}  {way:26} {median(runs, 'processor'):8.2f} s of processors ({ratio:5.2f} x plain) "
            f"{median(runs, 'bytes') / 2**20:8.0f} MiB",
            flush=True,
        )


if __name__ == "__main__":
    main()

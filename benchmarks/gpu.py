"""What a capture costs on a GPU: over the plain pass of a large model, at a million tokens, and where its time goes.

    python benchmarks/gpu.py --out benchmarks/results/gpu.json
    python benchmarks/gpu.py --dry-run        every step with tiny models, on the CPU where there is no GPU

Models have random weights, in bfloat16 (the bundled one is as it is). A is the decoder and the loss in slices, B the
whole capture of the same tokens at default settings but for the windowed loss; the first of each kind warms up with
2,048 tokens. Memory is the peak of the allocator; on a CPU it is not measured. The file is written again after each
step, and a step that fails says why and stops no other.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ropediag.capture import capture_model, run
from ropediag.models.load import load_model
from ropediag.models.loss import decode, nll_by_position
from ropediag.store import CaptureWriter

WARM_UP = 2048
SEVEN = {"hidden_size": 4096, "intermediate_size": 11008, "num_attention_heads": 32}
MILLION = {
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
}
TINY = {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4}
PARTS = {  # what is timed apart: name -> its owner and name
    "estimate": (run, "estimate_capture"),
    "statistics": (run, "measure_layer"),
    "write a layer": (CaptureWriter, "write_layer"),
    "merge the layers": (CaptureWriter, "finish"),
}


def random_model(device: torch.device, layers: int, shape: dict[str, int]) -> Any:
    """A LLaMA of this shape with random weights in bfloat16, made on the device."""
    from transformers import AutoModelForCausalLM, LlamaConfig

    config = LlamaConfig(num_hidden_layers=layers, vocab_size=32000, max_position_embeddings=4096, **shape)
    torch.manual_seed(0)
    with device:
        return AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).eval()


@contextmanager
def time_parts() -> Iterator[dict[str, float]]:
    """Time the parts of all captures inside, in seconds, each waited for."""
    seconds: dict[str, float] = defaultdict(float)

    def wrap(name: str, function: Callable) -> Callable:
        def timed(*arguments: Any, **options: Any) -> Any:
            wait()
            begun = time.perf_counter()
            result = function(*arguments, **options)
            wait()
            seconds[name] += time.perf_counter() - begun
            return result

        return timed

    before = {name: getattr(owner, attribute) for name, (owner, attribute) in PARTS.items()}
    for name, (owner, attribute) in PARTS.items():
        setattr(owner, attribute, wrap(name, before[name]))
    try:
        yield seconds
    finally:
        for name, (owner, attribute) in PARTS.items():
            setattr(owner, attribute, before[name])


def wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def measure(work: Callable[[], None]) -> dict[str, float]:
    """Seconds, and gibibytes at the peak over what was there before."""
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    wait()
    held, begun = torch.cuda.memory_allocated() if cuda else 0, time.perf_counter()
    work()
    wait()
    found = {"seconds": round(time.perf_counter() - begun, 3)}
    return found | ({"GiB": round((torch.cuda.max_memory_allocated() - held) / 2**30, 2)} if cuda else {})


def compare(model: Any, length: int, pairs: int) -> dict[str, Any]:
    """Plain pass and capture in turn."""
    device = next(model.parameters()).device
    vocabulary = model.config.vocab_size
    ids = torch.randint(3, vocabulary, (1, length), generator=torch.Generator().manual_seed(0)).to(device)

    def plain(tokens: int) -> None:
        nll_by_position(model, ids[:, :tokens], decode(model, ids[:, :tokens]))

    def capture(tokens: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = capture_model(
                model, ids[:, :tokens], Path(folder) / "c.h5", train_len=min(4096, tokens // 2), excess=False
            )
            sizes.append(path.stat().st_size / 2**20)

    sizes: list[float] = []
    plain(min(WARM_UP, length))
    capture(min(WARM_UP, length))
    runs: dict[str, list[dict[str, float]]] = {"plain": [], "capture": []}
    for _ in range(pairs):
        runs["plain"].append(measure(lambda: plain(length)))
        with time_parts() as seconds:
            runs["capture"].append(measure(lambda: capture(length)))
        runs["capture"][-1] |= {name: round(value, 3) for name, value in seconds.items()}
    ratios = [b["seconds"] / a["seconds"] for a, b in zip(runs["plain"], runs["capture"], strict=True)]
    return {
        "tokens": length,
        "layers": model.config.num_hidden_layers,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "file MiB": round(sizes[-1], 1),
        "capture over plain": [round(ratio, 3) for ratio in ratios],
        **runs,
    }


def list_steps(device: torch.device, options: argparse.Namespace) -> dict[str, Callable[[], dict[str, Any]]]:
    """The measurements by name."""
    tiny, layers = options.dry_run, options.layers
    seven, million = (TINY, TINY) if tiny else (SEVEN, MILLION)
    short, long = (512, 2048) if tiny else (65536, 2**20)

    def bundled(length: int) -> dict[str, Any]:
        return compare(load_model("demo", device=device.type, dtype="auto").model, length, 2)

    return {
        "7B shape": lambda: compare(random_model(device, 2 if tiny else layers, seven), short, 2),
        "bundled": lambda: bundled(short),
        "bundled, long": lambda: bundled(512 if tiny else 262144),
        "million": lambda: compare(random_model(device, 2 if tiny else 3, million), long, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", nargs="*", help="names of steps")
    parser.add_argument("--layers", type=int, default=8, help="of the 7B shape, which has 32")
    parser.add_argument("--dry-run", action="store_true")
    options = parser.parse_args()
    if not torch.cuda.is_available() and not options.dry_run:
        raise SystemExit("benchmarks/gpu.py needs a CUDA device; --dry-run tries its steps without.")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    card = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    found: dict[str, Any] = {
        "command": " ".join(["python", *sys.argv]),
        "device": card,
        "torch": torch.__version__,
    }
    for name, step in list_steps(device, options).items():
        if options.only and name not in options.only:
            continue
        try:
            found[name] = step()
        except (RuntimeError, MemoryError, ValueError) as error:
            found[name] = {"failed": f"{type(error).__name__}: {error}"}
        print(json.dumps({name: found[name]}), flush=True)
        if options.out:
            options.out.write_text(json.dumps(found, indent=1) + "\n")
    if options.dry_run and any("failed" in one for one in found.values() if isinstance(one, dict)):
        raise SystemExit(1)


if __name__ == "__main__":
    main()

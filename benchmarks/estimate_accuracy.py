"""How near `ropediag capture`'s announcement comes: seconds, memory and disk, estimated over measured.

    python benchmarks/estimate_accuracy.py --out benchmarks/results/estimate_accuracy.json

Each length runs in a separate process, with one thread. Seconds, announced and measured, are the processor's, so that
what else the machine does counts in neither. Memory is the peak resident size minus the one after loading.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

from apart import peak, resident, run_apart
from record import describe_run, write_results


def run_once(model_name: str, length: int) -> dict[str, list[float]]:
    """Estimate and measure one capture in this process; (estimated, measured) of each figure."""
    import torch

    from ropediag.capture import Reporter, capture_model
    from ropediag.models.load import load_model
    from ropediag.text import read_token_sequences

    torch.set_num_threads(1)
    time.perf_counter = time.process_time  # the clock of the announcement

    class Listener(Reporter):
        timed = True

        def starting(self, name, plan, training, estimate):
            self.estimate, self.started = estimate, time.perf_counter()

    loaded, listener = load_model(model_name), Listener()
    ids = read_token_sequences(None, loaded.tokenizer, length, 1, 0)
    train_len = json.loads((loaded.directory / "ropediag.json").read_text())["train_len"]
    before = resident(loaded.model.device)
    with tempfile.TemporaryDirectory() as folder:
        path = capture_model(
            loaded.model,
            ids,
            Path(folder) / "capture.h5",
            tokenizer=loaded.tokenizer,
            train_len=train_len,
            reporter=listener,
        )
        seconds, size = time.perf_counter() - listener.started, path.stat().st_size
    estimate = listener.estimate
    return {
        "seconds": [estimate.seconds, seconds],
        "MiB of memory": [estimate.memory / 2**20, (peak(loaded.model.device) - before) / 2**20],
        "MiB on disk": [estimate.disk / 2**20, size / 2**20],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="demo")
    parser.add_argument("--lens", type=int, nargs="+", default=[8192, 32768, 65536])
    parser.add_argument("--out", type=Path, help="JSON file: [estimated, measured] of each figure")
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.once:
        print(json.dumps(run_once(options.model, options.lens[0])))
        return
    about, found = describe_run(threads=1), {}
    for length in options.lens:
        found[length] = run_apart(__file__, ["--once", "--model", options.model, "--lens", str(length)])
        for figure, (estimated, measured) in found[length].items():
            print(
                f"{length:7} tokens  {figure:14} estimated {estimated:8.1f}  measured {measured:8.1f}  ratio {estimated / measured:.2f}",
                flush=True,
            )
    if options.out:
        write_results(options.out, about, {"model": options.model, "lengths": found})


if __name__ == "__main__":
    main()

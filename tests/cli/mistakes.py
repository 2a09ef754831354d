"""Plausible mistakes at the command line, one a line, and what each is answered: ``mistakes.txt``.

``python -m tests.cli.mistakes`` writes the answers; whoever changes one reads the difference.
"""

import contextlib
import io
import json
import os
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
SNAPSHOT = Path(__file__).with_suffix(".txt")
LLAMA = {
    "model_type": "llama",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 4096,
    "rope_theta": 10000.0,
}
MISTAKES = """
capure --model demo --len 8k
capture --model demo
capture --len 8k
capture --model demo --len 8x
capture --model demo --len 1.5k
capture --model demo --len 128.5
capture --model demo --len -5
capture --model demo --len 1
capture --model demo --length 8k
capture --model demo --len 300 --layers 99
capture --model demo --len 300 --layers 1-
capture --model demo --len 300 --heads 2
capture --model demo --len 300 --keep-qk 1
capture --model demo --len 300 --keep-qk 9:9
capture --model demo --len 300 --device gpu
capture --model demo --len 300 --dtype fp8
capture --model demo --len 300 --rows -3
capture --model demo --len 300 --train-len 4096
capture --model demo --len 300 --revision main
capture --model demo --len 300 --bos
capture --model demo --len 300 --out foo.txt
capture --model demo --len 300 --out taken.h5
capture --model demo --len 300 --out /proc/foo.h5
capture --model demo --len 300 --text nowhere.txt
capture --model demo --len 300 --text short.txt
capture --model demo --len 300 --text picture.png
capture --model demo --len 300 --tokens taken.h5
capture --model demo --len 300 --tokens floats.npy
capture --model demo --len 300 --text short.txt --tokens floats.npy
capture --model nowhere --len 300
capture --model 'no such dir/x' --len 300
capture --model taken.h5 --len 300
capture --model empty --len 300
capture --model llama --len 300
predict llama --phase len=4k --train-len 4k
predict taken.h5
predict nowhere
predict llama --train-len 4k --scaling yarn
predict llama --train-len 4k --scaling '{"rope_type": "yarn", "factr": 4}'
predict --base 1e4 --train-len 4k --rotary-dim 127
predict --base 1 --train-len 4k --rotary-dim 128
analyze ablation.h5
analyze study.h5
analyze nowhere.h5
analyze cut.h5
stretch ablation.h5 --base 1e6
stretch taken.h5
laws taken.h5
plot taken.h5 drfit
plot taken.h5 drift --out drift.pdf
plot taken.h5 drift --layer 9
compare taken.h5 ablation.h5
compare taken.h5 taken.h5 --diagnostic nothing
report ablation.h5 nowhere.h5
dash nowhere
evaluate --model demo --len 300 --window 1
ablate --model demo --len 100
ablate --model demo --len 300 --pairs 40
ablate --model demo --len 300 --kind rotate
pretrain --out made --heads 3
pretrain --out made --family bert
tune --model demo --out made --scaling yarn
tune --model demo --out made --base 1
study nowhere.yaml
study unknown-key.yaml
""".strip().splitlines()


def make_inputs(folder: Path) -> None:
    """Fill a folder with what the mistakes name."""
    shutil.copy(ROOT / "captures" / "example-kept-2048.h5", folder / "taken.h5")
    shutil.copy(ROOT / "captures" / "example-ablation-log.h5", folder / "ablation.h5")
    shutil.copy(ROOT / "studies" / "results" / "turns.h5", folder / "study.h5")
    (folder / "cut.h5").write_bytes((folder / "taken.h5").read_bytes()[:-1000])
    (folder / "short.txt").write_text("eleven byte", encoding="utf-8")
    (folder / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe")
    np.save(folder / "floats.npy", np.ones(400))
    (folder / "empty").mkdir()
    (folder / "llama").mkdir()
    (folder / "llama" / "config.json").write_text(json.dumps(LLAMA), encoding="utf-8")
    (folder / "unknown-key.yaml").write_text("name: mine\nbasis: [1]\n", encoding="utf-8")


def answer(words: list[str]) -> tuple[int, str]:
    """Run ``ropediag`` with these words in this process; return its status and all that it printed."""
    from ropediag.cli import main

    said, given = io.StringIO(), sys.argv
    sys.argv = ["ropediag", *words]
    status: int | str | None = 0
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            main()
    except SystemExit as ended:
        status = ended.code
    finally:
        sys.argv = given
    return int(status or 0), said.getvalue()


def write_answers() -> str:
    """Make every mistake in a folder of its own making, and write what was answered."""
    os.environ |= {"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb", "HF_HUB_OFFLINE": "1"}
    before, blocks = Path.cwd(), []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        make_inputs(folder)
        os.chdir(folder)
        try:
            for line in MISTAKES:
                status, said = answer(shlex.split(line))
                lines = [each.rstrip() for each in said.replace(f"{folder}/", "").splitlines()]
                blocks.append("\n".join([f"$ ropediag {line}", *filter(None, lines), f"[{status}]"]))
        finally:
            os.chdir(before)
    return "\n\n".join(blocks) + "\n"


if __name__ == "__main__":
    SNAPSHOT.write_text(write_answers(), encoding="utf-8")

"""Random mistakes at the command line: damaged and exchanged arguments and files, from a seed.

What the last handler of the command line would catch is collected by kind; ``test_fuzz.py`` says which kinds
must not occur. Everything runs in this process, on a tiny checkpoint.
"""

import contextlib
import io
import json
import random
import shutil
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ropediag.cli import build_app
from ropediag.errors import RopediagError
from ropediag.tune.tokenizer import byte_tokenizer
from tests.families import tiny_model

ROOT = Path(__file__).parents[2]
NUMBERS = (
    "0",
    "-1",
    "1",
    "2",
    "3.5",
    "1e400",
    "1e-320",
    "nan",
    "inf",
    "-inf",
    "9" * 25,
    "",
    "x",
    "8k",
    "1_0",
    "0x10",
)
WORDS = (
    "",
    " ",
    "x",
    "0",
    "-",
    "0-",
    "9:9",
    "all",
    "yarn",
    "{}",
    "[1]",
    '{"rope_type": 3}',
    "é",
    "a/b",
    "..",
    "demo",
)
VALUES: tuple[Any, ...] = (
    *(
        None,
        [],
        {},
        "x",
        "",
        -1,
        0,
        1,
        3,
        1e308,
        float("nan"),
        True,
        [1, 2],
        [None],
        {"a": 1},
        "10000",
        3.7,
        [[]],
    ),
    *({"rope_type": "yarn"}, {"rope_type": None}, {"full_attention": {}}),
)
ROPE_KEYS = (
    *("rope_theta", "rope_scaling", "rope_parameters", "head_dim", "hidden_size", "num_attention_heads"),
    *("num_hidden_layers", "partial_rotary_factor", "sliding_window", "layer_types", "model_type"),
    *("max_position_embeddings", "original_max_position_embeddings", "no_rope_layers", "num_key_value_heads"),
    "rope_local_base_freq",
)
RECORD_KEYS = ("base", "pretrain_base", "train_len", "tune_len")
RULE_KEYS = (
    *("rope_type", "factor", "short_factor", "long_factor"),
    *("low_freq_factor", "beta_fast", "attention_factor"),
)


@dataclass
class Tally:
    """Calls, how they ended, what reached the last handler, and which commands failed and left a file.

    ``unforeseen`` holds kind, place and command.
    """

    calls: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    unforeseen: list[tuple[str, str, str]] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def make_inputs(folder: Path) -> list[str]:
    """Fill a folder with files of every kind, whole and damaged; return their names."""
    for name, source in {
        "capture.h5": "captures/example-kept-2048.h5",
        "ablation.h5": "captures/example-ablation-log.h5",
        "study.h5": "studies/results/turns.h5",
        "study.yaml": "studies/turns.yaml",
    }.items():
        shutil.copy(ROOT / source, folder / name)
    whole = (folder / "capture.h5").read_bytes()
    (folder / "cut.h5").write_bytes(whole[: len(whole) // 2])
    (folder / "garbled.h5").write_bytes(whole[:2000] + bytes(2000) + whole[4000:])
    (folder / "empty.h5").touch()
    (folder / "text.txt").write_text("A line of text that is long enough. " * 40, encoding="utf-8")
    (folder / "picture.png").write_bytes(b"\x89PNG\xff\xfe")
    (folder / "list.json").write_text("[1, 2]", encoding="utf-8")
    (folder / "bad.yaml").write_text("grid: {base: x}\n- [", encoding="utf-8")
    np.save(folder / "ids.npy", np.arange(400) % 200)
    np.save(folder / "floats.npy", np.ones(400))
    np.save(folder / "objects.npy", np.array([{}, None]), allow_pickle=True)
    tiny_model("llama", vocab_size=256).save_pretrained(folder / "model")
    byte_tokenizer().save_pretrained(folder / "model")
    shutil.copytree(folder / "model", folder / "damaged")
    (folder / "folder").mkdir()
    return [*sorted(path.name for path in folder.iterdir()), "nowhere", "nowhere.h5"]


COMMANDS = [
    line.split()
    for line in """
capture --model model --len 40 --train-len 16 --rows 2 --text text.txt --out made.h5 --force
evaluate --model model --len 40 --train-len 16 --text text.txt --trials 0 --out made.h5 --force
ablate --model model --len 40 --train-len 16 --text text.txt --sequences 2 --random 1 --limit 8
analyze capture.h5
compare capture.h5 capture.h5 --diagnostic drift
dash folder
info capture.h5
laws study.h5
plot capture.h5 drift --out made.html
predict model --train-len 16 --target-len 64
pretrain --out made --text text.txt --steps 1 --layers 1 --width 8 --heads 1 --head-dim 4 --force
report capture.h5 --out made.html --force
stretch capture.h5 --base 1e6
study study.yaml --dry-run --flops 1e12
tune --model model --out made --base 1e6 --text text.txt --steps 1 --train-len 16 --force
""".strip().splitlines()
]
EXTRAS = {
    command: options.split()
    for command, options in {
        "capture": "--layers --heads --keep-qk --chunk --rows --seed --pretrain-base --tokens --sequences "
        "--dtype --device --attn --revision",
        "evaluate": "--window --stride --parent --tokens --seed --pretrain-base --sequences",
        "ablate": "--pairs --kind --limit --at --factor --base --search --capture --layers --heads",
        "analyze": "--csv --fail-on",
        "compare": "--diagnostic --csv",
        "plot": "--variable --layer --query-head",
        "predict": "--base --pretrain-base --tune-len --rotary-dim --scaling --factor --turns",
        "pretrain": "--len --base --family --heads --head-dim --lr --partial-rotary-factor",
        "stretch": "--target-len --base",
        "study": "--seeds --engine --flops",
        "tune": "--scaling --factor --len --lora --lr --dtype --pretrain-base",
    }.items()
}


def damage_config(chance: random.Random, folder: Path) -> None:
    """Write the checkpoint ``damaged`` with one to three entries of its config replaced or left out."""
    config = json.loads((folder / "model" / "config.json").read_text(encoding="utf-8"))
    for _ in range(chance.randint(1, 3)):
        key = chance.choice((*ROPE_KEYS, *config))
        if chance.random() < 0.2:
            config.pop(key, None)
        elif chance.random() < 0.3:
            rule = {name: chance.choice(VALUES) for name in chance.sample(RULE_KEYS, 3)}
            kind = chance.choice(("linear", "dynamic", "yarn", "llama3", "longrope", "default", "none"))
            config["rope_scaling" if chance.random() < 0.5 else "rope_parameters"] = {
                "rope_type": kind
            } | rule
        else:
            config[key] = chance.choice(VALUES)
    (folder / "damaged" / "config.json").write_text(json.dumps(config), encoding="utf-8")
    record = folder / "damaged" / "ropediag.json"
    record.unlink(missing_ok=True)
    if chance.random() < 0.3:
        numbers = {name: chance.choice(VALUES) for name in chance.sample(RECORD_KEYS, 2)}
        record.write_text(json.dumps(numbers), encoding="utf-8")


def draw_command(chance: random.Random, names: list[str]) -> list[str]:
    """Draw a command that works, and change one to three of its words."""
    often = [6 if command[0] == "predict" else 1 for command in COMMANDS]
    name, *words = chance.choices(COMMANDS, often)[0]
    for _ in range(chance.randint(1, 3)):
        pool = chance.choice((NUMBERS, WORDS, tuple(names), ("damaged",)))
        if EXTRAS.get(name) and chance.random() < 0.4:
            words += [chance.choice(EXTRAS[name]), chance.choice(pool)]
        elif words and chance.random() < 0.2:
            words.pop(chance.randrange(len(words)))
        elif words:
            places = [place for place, word in enumerate(words) if not word.startswith("--")]
            words[chance.choice(places or [0])] = chance.choice(pool)
    return [name, *words]


def run_one(words: list[str]) -> tuple[str, Exception | None]:
    """Run one command; return how it ended, and the exception that the last handler would have caught."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            build_app()(words, prog_name="ropediag")
    except SystemExit as ended:
        return f"status {ended.code or 0}", None
    except RopediagError:
        return "refused", None
    except Exception as error:
        return "unforeseen", error
    return "status 0", None


def find_place(error: Exception) -> str:
    """Name the file and line where an exception was raised, from the package's folder on."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    parts = Path(last.filename).parts
    start = max(
        (index for index, part in enumerate(parts) if part in ("ropediag", "app", "site-packages")), default=0
    )
    return f"{'/'.join(parts[start:])}:{last.lineno}"


def fuzz(
    folder: Path, calls: int, seed: int, keep: Callable[[list[str], Exception], None] | None = None
) -> Tally:
    """Make random mistakes in a folder, which is the working directory."""
    chance, names, tally = random.Random(seed), make_inputs(folder), Tally()
    for _ in range(calls):
        damage_config(chance, folder)
        words = draw_command(chance, names)
        end, error = run_one(words)
        if keep is not None and error is not None:
            keep(words, error)
        tally.calls += 1
        tally.ends[end] += 1
        if error is not None:
            said = f"{' '.join(words)}: {error}"
            tally.unforeseen.append((type(error).__name__, find_place(error), said))
        if end != "status 0" and any((folder / name).exists() for name in ("made.h5", "made.html")):
            tally.left.append(" ".join(words))
        for made in folder.glob("made*"):
            shutil.rmtree(made) if made.is_dir() else made.unlink()
    return tally

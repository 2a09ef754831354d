"""What can be known without torch is refused without torch."""

import json
import subprocess
import sys

import pytest
from transformers import AutoConfig

from ropediag.assets import demo_model
from ropediag.config import CaptureConfig
from ropediag.errors import CaptureError, ConfigError, ModelError, RopediagError
from ropediag.evaluate.config import EvaluateConfig
from ropediag.intervene.config import AblateConfig
from ropediag.models import inputs
from ropediag.models.preflight import check_inputs
from ropediag.theory.phases import PhaseSpec

REFUSED = {
    "a length that contradicts the record": (
        {"train_len": 4096},
        "train_len is 4,096 by its flag and 128 by",
    ),
    "phases beside a length": (
        {"train_len": 128, "phases": (PhaseSpec(128),)},
        "--phase states the whole training: leave out --train-len",
    ),
    "a device that is none": ({"device": "gpu"}, "device must be auto, cpu"),
    "a text that is not there": ({"text": "nowhere.txt"}, "cannot read nowhere.txt"),
    "no such folder": ({"model": "no such dir/x"}, "no such folder, and no hub id"),
    "a name that is taken": ({"out": "taken.h5"}, "taken.h5 exists"),
}
OF_A_CAPTURE = {
    "a layer that is not there": ({"layers": (99,)}, "no layer 99: its layers are 0 to 3"),
    "a head that is not there": ({"heads": (0, 2)}, "no head 2: its heads are 0 to 1"),
    "a kept head that is not there": ({"keep_qk": ((0, 7),)}, "no head 7"),
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken.h5").touch()


@pytest.mark.parametrize("kind", [CaptureConfig, EvaluateConfig, AblateConfig])
@pytest.mark.parametrize("case", REFUSED)
def test_every_run_refuses(kind, case):
    fields, message = REFUSED[case]
    with pytest.raises(RopediagError, match=message):
        check_inputs(kind(**({"model": "demo", "length": 300} | fields)))


@pytest.mark.parametrize("case", OF_A_CAPTURE)
def test_a_capture_refuses(case):
    fields, message = OF_A_CAPTURE[case]
    with pytest.raises(CaptureError, match=message):
        check_inputs(CaptureConfig(model="demo", length=300, **fields))


@pytest.mark.parametrize("kind", [CaptureConfig, EvaluateConfig, AblateConfig])
def test_what_can_work_passes(kind):
    check_inputs(kind(model="demo", length=300, out="new/made.h5", train_len=128))
    check_inputs(
        kind(model="demo", length=300, phases=(PhaseSpec(4096),))
    )  # in place of what the record says


def test_a_folder_that_cannot_be_written_to_is_found_by_writing():
    with pytest.raises(CaptureError, match="cannot write"):
        check_inputs(CaptureConfig(model="demo", length=300, out="/proc/made.h5"))


def test_a_model_whose_training_nothing_states_is_refused_before_its_weights(tmp_path):
    config = json.loads((demo_model() / "config.json").read_text(encoding="utf-8"))
    length = config.pop("max_position_embeddings")
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (tmp_path / "bare" / "model.safetensors").write_bytes(b"never read")
    with pytest.raises(ConfigError, match="the training length is not known: no --train-len, no --phase"):
        check_inputs(CaptureConfig(model="bare", length=300))
    check_inputs(CaptureConfig(model="bare", length=300, phases=(PhaseSpec(128),)))
    config["max_position_embeddings"] = length  # an assumption, but it is one
    (tmp_path / "bare" / "config.json").write_text(json.dumps(config), encoding="utf-8")
    check_inputs(CaptureConfig(model="bare", length=300))
    (tmp_path / "bare" / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="holds no weights"):
        check_inputs(CaptureConfig(model="bare", length=300))


@pytest.mark.parametrize(
    "words",
    [
        ("capture", "--model", "demo", "--len", "300", "--layers", "99"),
        ("capture", "--model", "demo", "--len", "300", "--train-len", "4k"),
        ("evaluate", "--model", "demo", "--len", "300", "--device", "gpu"),
        ("ablate", "--model", "nowhere", "--len", "300"),
        ("tune", "--model", "nowhere", "--out", "tuned"),
    ],
)
def test_a_command_that_is_refused_imports_no_torch(words):
    program = (
        "import sys; from ropediag.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit as ended:\n"
        "    assert ended.code == 2\n"
        "    assert not {'torch', 'transformers'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program, *words], check=True, stderr=subprocess.DEVNULL)


def test_a_dry_run_may_name_a_file_that_is_there():
    config = CaptureConfig(model="demo", length=300, out="taken.h5")
    check_inputs(config, writes=False)
    with pytest.raises(CaptureError, match=r"taken\.h5 exists"):
        check_inputs(config)


@pytest.mark.parametrize(
    ("fields", "message"), [({"layers": (99,)}, "no layer 99"), ({}, "the training length is not known")]
)
def test_a_model_on_the_hub_is_checked_by_its_config_before_its_tokenizer(monkeypatch, fields, message):
    stated = AutoConfig.from_pretrained(demo_model())
    stated.max_position_embeddings = 0  # its class takes no None
    monkeypatch.setattr(inputs, "load_config", lambda source, revision: (stated, None))
    monkeypatch.setattr(inputs, "load_tokenizer", None)  # never called
    training = {"train_len": 128} if fields else {}
    with pytest.raises(RopediagError, match=message):
        inputs.read_inputs(CaptureConfig(model="org/name", length=300, **fields, **training))

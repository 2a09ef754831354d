"""The layer table, held by import-linter, and what a process must not load."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import ropediag.cli
from tests.store.synthetic import write_capture

ROOT = Path(__file__).parents[1]
COMMANDS = sorted(path.stem for path in Path(ropediag.cli.__file__).parent.glob("[!_]*.py"))


def run(*words):
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, cwd=ROOT, check=False)


def loaded_by(code):
    """The top-level packages that a fresh process has loaded after ``code``, its exit aside."""
    program = f"import sys\ntry:\n    {code}\nexcept SystemExit:\n    pass\n"
    program += "print(*sys.modules, file=sys.stderr)"
    done = run("-c", program)
    assert done.returncode == 0, done.stderr
    return {name.partition(".")[0] for name in done.stderr.split()}


def lint(config):
    pytest.importorskip("importlinter")
    code = "import sys; from importlinter.cli import lint_imports; "
    done = run("-c", code + "sys.exit(lint_imports(sys.argv[1], no_cache=True))", str(config))
    return done.returncode, done.stdout + done.stderr


def test_imports_follow_the_layer_table():
    status, report = lint(ROOT / ".importlinter")
    assert status == 0, report
    assert "7 kept, 0 broken" in report, report


def test_the_linter_sees_an_import_inside_a_function(tmp_path):
    """``store`` loads xarray, and only late, in one function: a contract against it must break."""
    contract = "[importlinter]\nroot_package = ropediag\ninclude_external_packages = True\n"
    contract += "[importlinter:contract:late]\nname = Late\ntype = forbidden\n"
    contract += "source_modules =\n    ropediag.store.reader\nforbidden_modules =\n    xarray\n"
    (tmp_path / "late").write_text(contract)
    status, report = lint(tmp_path / "late")
    assert status != 0
    assert "ropediag.store.reader -> ropediag.store.labels" in report


@pytest.mark.parametrize("code", [
    "import ropediag",
    "import ropediag; dir(ropediag)",
    "from ropediag.cli import main; sys.argv = ['ropediag', '--help']; main()",
    "from ropediag.cli import main; sys.argv = ['ropediag', 'capture', '--help']; main()",
    "from ropediag.cli import main; sys.argv = ['ropediag', 'evaluate', '--help']; main()",
    "import ropediag.evaluate; ropediag.evaluate.EvaluateConfig",
    "import ropediag.intervene; ropediag.intervene.Intervention; ropediag.intervene.AblateConfig",
])  # fmt: skip
def test_import_and_help_load_nothing_heavy(code):
    loaded = loaded_by(code)
    assert "ropediag" in loaded
    assert not loaded & {"torch", "transformers", "transformer_lens", "dash", "plotly", "xarray", "h5py"}


def test_what_runs_models_loads_nothing_that_draws():
    loaded = loaded_by("import ropediag.capture, ropediag.tune.pretrain, ropediag.evaluate.run")
    assert {"torch", "transformers"} <= loaded
    assert not loaded & {"transformer_lens", "dash", "plotly"}


def test_reading_a_capture_never_loads_torch(tmp_path):
    path = write_capture(tmp_path / "small.h5")
    loaded = loaded_by(f"import ropediag; ropediag.open_capture({str(path)!r}).scores['mean'].values.sum()")
    assert {"h5py", "xarray"} <= loaded
    assert not loaded & {"torch", "transformers", "dash", "plotly"}


def test_looking_into_a_capture_loads_neither_torch_nor_xarray(tmp_path):
    path = write_capture(tmp_path / "small.h5")
    arguments = ["ropediag", "info", str(path)]
    loaded = loaded_by(f"from ropediag.cli import main; sys.argv = {arguments}; main()")
    assert "h5py" in loaded
    assert not loaded & {"torch", "transformers", "dash", "plotly", "xarray"}


def test_help_lists_every_command_file():
    done = run("-c", "from ropediag.cli import main; main()", "--help")
    assert done.returncode == 0
    assert "capture" in COMMANDS
    rows = [line.removeprefix("│ ") for line in done.stdout.splitlines() if line.startswith("│ ")]
    listed = {row.split()[0] for row in rows if row[0].isalpha()}
    assert listed == {name.replace("_", "-") for name in COMMANDS}


def test_the_installed_command_is_the_same():
    command = shutil.which("ropediag", path=str(Path(sys.executable).parent))
    if command is None:
        pytest.skip("ropediag is not installed as a command here")
    done = subprocess.run([command, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert all(name.replace("_", "-") in done.stdout for name in COMMANDS)


def test_every_package_is_installed():
    """setuptools is told them one by one, since the folder app/ is installed as ``ropediag.app``."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {"ropediag": ROOT / "ropediag", "ropediag.app": ROOT / "app"}
    found = {
        ".".join([name, *path.parent.relative_to(folder).parts])
        for name, folder in folders.items()
        for path in folder.rglob("__init__.py")
    }
    assert sorted(listed) == sorted(found)

"""Shape annotations are checked while the tests run; tools that only CI must have are asked for here."""

import os
import shutil

import pytest
import torch
from jaxtyping import install_import_hook

os.environ["HF_HUB_OFFLINE"] = "1"  # no test asks the network; read when transformers is imported
CHECKED = ("ropediag.rope", "ropediag.scaling", "ropediag.limits", "ropediag.capture", "ropediag.models",
           "ropediag.analysis", "ropediag.evaluate", "ropediag.intervene", "ropediag.store.pool")  # fmt: skip
_hook = install_import_hook(CHECKED, "beartype.beartype")
torch.set_num_threads(1)  # tiny models: more threads only wait for each other


@pytest.fixture
def require_tool():
    """Give a function that skips the test where a program is missing, or fails it where it must be there."""

    def require(name: str) -> str:
        path = shutil.which(name)
        if path is None:
            reason = f"{name} is not installed"
            (pytest.fail if os.environ.get("ROPEDIAG_REQUIRE_TOOLS") == "1" else pytest.skip)(reason)
        return path

    return require

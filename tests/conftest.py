"""Shape annotations are checked while tests run; here are a browser and tools that only CI must have."""

import os
import shutil
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import torch
from jaxtyping import install_import_hook

os.environ["HF_HUB_OFFLINE"] = "1"  # no test asks the network; read when transformers is imported
hypothesis.settings.register_profile("patient", deadline=None)  # no test depends on a quiet machine
hypothesis.settings.load_profile("patient")
CHECKED = ("ropediag.theory", "ropediag.rope",
           "ropediag.scaling", "ropediag.limits", "ropediag.capture", "ropediag.models",
           "ropediag.analysis", "ropediag.evaluate", "ropediag.intervene", "ropediag.store.pool",
           "ropediag.attribution")  # fmt: skip
HANG = 600_000  # milliseconds
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
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


class PatientBrowser:
    """A browser whose pages wait as long as a busy machine needs; ``HANG`` only ends what never comes."""

    def __init__(self, browser: Any) -> None:
        self._browser = browser

    def new_context(self, **options: Any) -> Any:
        context = self._browser.new_context(**options)
        context.set_default_timeout(HANG)
        return context

    def new_page(self, **options: Any) -> Any:
        return self.new_context(**options).new_page()


@pytest.fixture(scope="session")
def chromium() -> Iterator[PatientBrowser]:
    """A headless Chromium; without one the tests skip, unless ROPEDIAG_REQUIRE_TOOLS is set."""
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        if os.environ.get("ROPEDIAG_REQUIRE_TOOLS"):
            pytest.fail("no Chromium: apt-get install chromium")
        pytest.skip("no Chromium on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield PatientBrowser(browser)
        browser.close()

"""The pictures of the dashboard: ``python docs/images/dashboard.py``. Needs playwright and a Chromium."""

import shutil
import threading
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from ropediag.app.server import listen, make_app

ROOT = Path(__file__).parents[2]
PICTURES = {
    "overview": ("/?capture=example-8192.h5", "light", 900),
    "pairs": ("/pairs?capture=example-8192.h5&layer=1&query_head=1&pair=14", "dark", 1290),
    "attention": ("/attention?capture=example-kept-2048.h5&layer=1&query_head=1", "light", 1120),
}


def wait_still(page: Page) -> None:
    """Wait until nothing is asked for and every figure has been drawn."""
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(1500)


def main() -> None:
    server = listen(make_app(ROOT / "captures"), 0)
    threading.Thread(target=server.run, daemon=True).start()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name, (path, scheme, height) in PICTURES.items():
            size = {"width": 1280, "height": height}
            context = browser.new_context(viewport=size, color_scheme=scheme, reduced_motion="reduce")
            page = context.new_page()
            page.goto(f"http://127.0.0.1:{server.effective_port}{path}")
            wait_still(page)
            page.screenshot(path=Path(__file__).with_name(f"dashboard-{name}.png"))
            context.close()
        browser.close()
    server.close()


if __name__ == "__main__":
    main()

"""How fast the dashboard answers over ten captures of a large model, what it sends, and what memory it takes.

``ropediag dash`` runs as a separate process over a folder with the capture of ``large_capture`` under ten
names. A headless Chromium opens the first page on a fresh server, again on the warm one, and then clicks cells,
changes heads by keyboard, changes pages and diagnostics. A click is answered when what is on the screen was last
changed by it and painted: all requests are back, and nothing has moved for a while.

    python benchmarks/dashboard.py --clicks 80 --out benchmarks/results/dashboard.md

Needs playwright, and a Chromium on the path.
"""

import argparse
import gzip
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from large_capture import HEADS, LAYERS, LENGTH, PAIRS, make_capture
from playwright.sync_api import Browser, Page, sync_playwright

CAPTURES = 10
FIRST = ("breakdown", "drift-map")  # figures of the first page
QUIET = 300  # milliseconds without a change after which a click counts as answered
WATCH = """(() => {
    const state = window.answer = { begun: 0, changed: 0, open: 0, touched: 0 };
    const touch = () => { state.touched = performance.now(); };
    for (const kind of ["pointerdown", "keydown"]) addEventListener(kind, (event) => {
        if (kind === "keydown" && event.key !== "Enter" && event.target.closest("input")) return;
        state.begun = event.timeStamp;
        touch();
    }, true);
    const fetch = window.fetch;
    window.fetch = async (...given) => {
        state.open += 1;
        try { return await fetch(...given); } finally { state.open -= 1; touch(); }
    };
    const aside = ".hoverlayer, .modebar, .dragcover, [role=tooltip]";
    const seen = new Map(); // panel -> whether a part of it is on the screen
    const watch = new IntersectionObserver((all) => all.forEach((one) => seen.set(one.target, one.isIntersecting)));
    const is_seen = (node) => {
        const panel = node.closest("section");
        if (panel && !seen.has(panel)) { seen.set(panel, true); watch.observe(panel); }
        return !panel || seen.get(panel);
    };
    new MutationObserver((records) => {
        const own = records.some(({ target }) => {
            const node = target.nodeType === 1 ? target : target.parentElement;
            return node && node.closest("#main") && !node.closest(aside) && is_seen(node);
        });
        if (!own) return;
        touch();
        requestAnimationFrame(() => setTimeout(() => { state.changed = performance.now(); }));
    }).observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
})();"""
DRAWN = """names => names.every((name) => (document.querySelector(`#panel-${name} .figure`)?._fullData || []).length)
    && document.querySelector(".verdict")"""


@contextmanager
def serve(folder: Path) -> Iterator[tuple[str, psutil.Process, float]]:
    """Run ``ropediag dash``; gives its address, its process, and the seconds until it answered."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code = "import sys; from ropediag.cli import main; sys.argv[0] = 'ropediag'; main()"
    begun = time.perf_counter()
    command = [sys.executable, "-c", code, "dash", str(folder), "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if server.poll() is not None:
                    raise SystemExit(f"{' '.join(command)} ended with status {server.returncode}.") from None
                time.sleep(0.01)
        yield f"http://127.0.0.1:{port}", psutil.Process(server.pid), time.perf_counter() - begun
    finally:
        server.terminate()
        server.wait()


@contextmanager
def open_tab(browser: Browser, address: str, sent: list[tuple[bool, bytes]]) -> Iterator[Page]:
    """A tab with a profile of its own; ``sent`` gets what the server sends: whether data, and the body."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, base_url=address, bypass_csp=True)
    context.add_init_script(WATCH)
    tab = context.new_page()
    tab.on("requestfinished", lambda request: sent.append(_read_body(request)))
    yield tab
    context.close()


def _read_body(request: Any) -> tuple[bool, bytes]:
    try:
        return any(
            part in request.url for part in ("_dash-update-component", "/panel/", "/part/", "/choice/")
        ), request.response().body()
    except Exception:  # a page that was left takes its answers with it
        return False, b""


def open_first(tab: Page, path: str = "/") -> float:
    """Seconds until the first page shows its figures and its verdict."""
    begun = time.perf_counter()
    tab.goto(path, wait_until="commit")
    tab.wait_for_function(DRAWN, arg=list(FIRST), timeout=60_000)
    return time.perf_counter() - begun


def settle(tab: Page) -> float:
    """Wait until nothing moves any more; milliseconds from the last input to the last change, once painted."""
    tab.wait_for_function(
        f"() => !answer.open && performance.now() - Math.max(answer.touched, answer.changed) > {QUIET}",
        timeout=60_000,
        polling=50,
    )
    return tab.evaluate("answer.changed - answer.begun")


def click_cell(tab: Page, panel: str, random: np.random.Generator) -> None:
    """Click a cell of a map, any one."""
    x, y = tab.evaluate(
        """([name, x, y]) => {
            const drawn = document.querySelector(`#panel-${name} .figure`);
            drawn.scrollIntoView({ block: "center" });
            const box = drawn.getBoundingClientRect();
            const { _offset: left, _length: width } = drawn._fullLayout.xaxis;
            const { _offset: top, _length: height } = drawn._fullLayout.yaxis;
            return [box.left + left + x * width, box.top + top + y * height];
        }""",
        [panel, *random.uniform(0.02, 0.98, 2).tolist()],
    )
    tab.mouse.move(x - 3, y)
    tab.mouse.move(x, y)
    tab.wait_for_timeout(200)  # plotly throttles hovering, and clicks what it hovers over
    tab.mouse.click(x, y)


def choose(tab: Page, control: str, count: int, random: np.random.Generator) -> None:
    """Choose another entry of a select of numbers below ``count``, by keyboard."""
    field = tab.locator(control)
    other = (int(field.input_value()) + int(random.integers(1, count))) % count
    field.click()
    field.fill(str(other))
    tab.get_by_role("option", name=str(other), exact=True).wait_for()
    field.press("ArrowDown")
    field.press("Enter")


class Meter:
    """What clicks took: milliseconds to the answer, and of the processor, in the browser and on the server."""

    def __init__(self, tab: Page, server: psutil.Process) -> None:
        self.answers: dict[str, list[float]] = defaultdict(list)
        self.browser: list[float] = []
        self.server: list[float] = []
        self._tab, self._process = tab, server
        self._session = tab.context.new_cdp_session(tab)
        self._session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def time(self, kind: str, act: Callable[[], None]) -> None:
        """Do something, and wait for the answer."""
        before = self._spent()
        act()
        self.answers[kind].append(settle(self._tab))
        for spent, then, now in zip((self.browser, self.server), before, self._spent(), strict=True):
            spent.append(now - then)

    def _spent(self) -> tuple[float, float]:
        metrics = {
            one["name"]: one["value"] for one in self._session.send("Performance.getMetrics")["metrics"]
        }
        times = self._process.cpu_times()
        return 1000 * metrics["TaskDuration"], 1000 * (times.user + times.system)


def click_around(tab: Page, meter: Meter, count: int, random: np.random.Generator) -> None:
    """Click at least ``count`` times, all kinds in turn."""
    while sum(map(len, meter.answers.values())) < count:
        meter.time("cell of the drift map, to its pair", lambda: click_cell(tab, "drift-map", random))
        meter.time("cell of the pair map", lambda: click_cell(tab, "pair-map", random))
        meter.time("another head", lambda: choose(tab, "#select-query_head", HEADS, random))
        meter.time("another layer", lambda: choose(tab, "#select-layer", LAYERS, random))
        tab.locator("h1:visible").click()
        meter.time("cell of the pair map", lambda: click_cell(tab, "pair-map", random))
        meter.time("overview, by its link", lambda: tab.get_by_role("link", name="Overview").click())


def visit_all(tab: Page, names: list[str]) -> None:
    """Open the first page and the pair page of every capture."""
    for name in names:
        open_first(tab, f"/?capture={name}")
        tab.get_by_role("link", name="Pairs").click()
        settle(tab)


def count_data(sent: list[tuple[bool, bytes]], data: bool) -> str:
    """Kilobytes of bodies, plain and gzipped."""
    bodies = [body for is_data, body in sent if is_data == data]
    plain, packed = sum(map(len, bodies)), sum(len(gzip.compress(body, 6)) for body in bodies)
    return f"{plain / 1000:,.0f} kB, {packed / 1000:,.0f} kB gzipped"


def fill_folder(folder: Path) -> list[str]:
    """Make the capture, once, under ten names."""
    names = [f"run-{index}.h5" for index in range(CAPTURES)]
    make_capture(folder / names[0])
    for name in names[1:]:
        os.link(folder / names[0], folder / name)
    return names


def measure(
    folder: Path, names: list[str], browser: Browser, clicks: int, runs: int
) -> list[tuple[str, str]]:
    """All figures, as rows of a table."""
    rows, cold, started, warm, again = [], [], [], [], []
    for _ in range(runs):
        with serve(folder) as (address, process, seconds):
            sent: list[tuple[bool, bytes]] = []
            with open_tab(browser, address, sent) as tab:
                begun = time.perf_counter()
                open_first(tab)
                started.append(seconds)
                cold.append(seconds + time.perf_counter() - begun)
                settle(tab)
                first = list(sent)
                again.append(open_first(tab))
            with open_tab(browser, address, []) as tab:
                warm.append(open_first(tab))
    rows.append(("server answers", _range(started, "s")))
    rows.append(
        ("first page cold: fresh server and profile, from the start of the command", _range(cold, "s"))
    )
    rows.append(("first page warm: fresh profile", _range(warm, "s")))
    rows.append(("first page warm: reloaded", _range(again, "s")))
    rows.append(("first page, data", count_data(first, data=True)))
    rows.append(("first page, scripts, styles and the frame", count_data(first, data=False)))
    with serve(folder) as (address, process, _), open_tab(browser, address, sent := []) as tab:
        open_first(tab)
        settle(tab)
        del sent[:]
        meter = Meter(tab, process)
        click_around(tab, meter, clicks, np.random.default_rng(0))
        everything = [value for values in meter.answers.values() for value in values]
        for kind, values in [("all clicks", everything), *meter.answers.items()]:
            rows.append((f"{kind} ({len(values)})", _quantiles(values)))
        rows.append(("of that the processor, browser", _quantiles(meter.browser)))
        rows.append(("of that the processor, server", _quantiles(meter.server)))
        rows.append(("data of all clicks", count_data(sent, data=True)))
        visit_all(tab, names)
        rows.append(
            (
                f"memory of the server, {CAPTURES} captures open",
                f"{process.memory_info().rss / 2**20:,.0f} MiB",
            )
        )
    return rows


def _range(values: list[float], unit: str) -> str:
    return f"{min(values):.2f} to {max(values):.2f} {unit}"


def _quantiles(values: list[float]) -> str:
    p50, p95 = np.percentile(values, (50, 95))
    return f"p50 {p50:.0f} ms, p95 {p95:.0f} ms, at most {max(values):.0f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clicks", type=int, default=80)
    parser.add_argument("--runs", type=int, default=5, help="of the first page")
    parser.add_argument("--folder", type=Path, help="of captures made before; made anew if not given")
    parser.add_argument("--out", type=Path, help="Markdown file for the table")
    options = parser.parse_args()
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        raise SystemExit("no Chromium on the path: apt-get install chromium")
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as made, sync_playwright() as playwright:
        folder = options.folder or Path(made)
        names = sorted(one.name for one in folder.glob("*.h5")) or fill_folder(folder)
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        rows = measure(folder, names, browser, options.clicks, options.runs)
        browser.close()
    rows.append(("load of the machine before, processes", f"{load:.1f} on {os.cpu_count()} cores"))
    about = f"{len(names)} captures of {LAYERS} layers, {HEADS} heads, {PAIRS} pairs and {LENGTH:,} tokens"
    table = "\n".join([f"| {about} | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])
    print(table)
    if options.out:
        options.out.write_text(f"# The dashboard\n\n`{' '.join(['python', *sys.argv])}`\n\n{table}\n")


if __name__ == "__main__":
    main()

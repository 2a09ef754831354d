"""The attention map in the browser, from the whole sequence to single tokens; values from the file alone."""

import re
import shutil
import time

import h5py
import numpy as np
import pytest

from ropediag.analysis import score_map
from ropediag.app.answers import export_tables
from ropediag.app.pages import _attention_map as attention_map
from ropediag.app.pages._attention_map import MAP
from ropediag.app.view import Desk
from ropediag.app.wiring import resolve_selection
from ropediag.plots.style import DARK
from tests.analysis.kept import merge, write_kept, write_out
from tests.app.browsing import read_fields, read_trace, wait_drawn, wait_until
from tests.app.conftest import CAPTURES

LENGTH = 1500
DRAG = "document.querySelector('.js-plotly-plot .nsewdrag').getBoundingClientRect().toJSON()"


@pytest.fixture(scope="module")
def kept(serve, tmp_path_factory):
    """A dashboard with a capture that kept a head, and the head's logits, whole and of single pairs."""
    folder = tmp_path_factory.mktemp("attention")
    path = write_kept(folder / "kept.h5", LENGTH)
    shutil.copy(CAPTURES / "example-8192.h5", folder)
    with h5py.File(path) as file:
        header = {name: file[name][...] for name in ("rope/inv_freq", "rope/channels", "rope/window")}
        vectors = file["samples/kept_query"][0, 0], file["samples/kept_key"][0, 0]
        ids = file["tokens/input_ids"][0]
        pieces = dict(zip(file["token"][...], file["tokens/piece"].asstr()[...], strict=True))
    told = {what: write_out(header, *vectors, pairs) for what, pairs in (("total", None), ("past", [1, 2]))}
    return f"{serve(folder)}/attention?capture=kept.h5", told | {"text": [pieces[one] for one in ids]}


def test_the_panel_gives_its_code_and_its_numbers(tmp_path):
    write_kept(tmp_path / "kept.h5", 300, sequences=2)
    fields = {"capture": "kept.h5", "region": "40-90,0-300", "sequence": "1", "what": "past"}
    desk = Desk(tmp_path)
    view = desk.view(resolve_selection(desk, fields)[0])
    measured = MAP.measure(view)
    *lines, last = MAP.code(view).splitlines()
    scope: dict = {}
    exec("\n".join(lines), scope)
    drawn = MAP.draw(measured, view)
    assert eval(last, scope).to_json() == drawn.to_json()
    assert "layer 2, head 1" in MAP.explain(measured).lower()
    assert export_tables(MAP, view)[1].startswith(b"query,key,logit")
    assert {one for _, one in drawn.data[0].colorscale} <= set(DARK)


def read_map(page):
    """First queries, first keys, steps and values as the browser shows them."""
    trace = read_trace(page, "score-map")
    values = np.array([[np.nan if z is None else z for z in row] for row in trace["z"]], dtype=float)
    steps = [round(trace[axis][1] - trace[axis][0]) for axis in "yx"]
    return [round(trace[axis][0] + 0.5) for axis in "yx"], steps, values


def check_map(page, logits, how=np.mean):
    (query, key), steps, values = read_map(page)
    part = logits[query : query + len(values) * steps[0], key : key + values.shape[1] * steps[1]]
    np.testing.assert_allclose(values, merge(part, *steps, how), rtol=1e-4, atol=1e-4)


def drag(page, x0, y0, x1, y1):
    """Draw a rectangle over the map; places are shares of its width and height."""
    before = page.url
    page.locator(".js-plotly-plot").scroll_into_view_if_needed()
    box = page.evaluate(DRAG)
    at = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in ((x0, y0), (x1, y1))]
    page.mouse.move(*at[0])
    page.mouse.down()
    page.mouse.move(*at[1], steps=5)
    page.mouse.up()
    wait_until(page, "before => location.href !== before", arg=before)
    wait_region(page)


def wait_region(page):
    """Wait until the figure is that of the URL's rectangle."""
    region = read_fields(page).get("region")
    query, key = (region or "0-1,0-1").split(",")
    wait_until(
        page,
        """([query, key]) => {
            const layout = document.querySelector('.js-plotly-plot')._fullLayout, meta = layout.meta;
            const holds = (side, at) => side.first[0] <= at && at < side.first[0] + side.step;
            return meta && holds(meta.query, query) && holds(meta.key, key);
        }""",
        arg=[int(query.split("-")[0]), int(key.split("-")[0])],
    )
    page.wait_for_load_state("networkidle")


def test_the_map_goes_from_the_whole_sequence_to_single_tokens(page, kept):
    address, logits = kept
    page.goto(address)
    wait_drawn(page, "score-map")
    check_map(page, logits["total"])
    seen = []
    for _ in range(6):
        seen.append(read_map(page)[1])
        if seen[-1] == [1, 1]:
            break
        drag(page, 0.1, 0.6, 0.45, 0.95)
        check_map(page, logits["total"])
    assert seen[0] == [8, 8]
    assert seen[-1] == [1, 1]
    url = page.url
    page.reload()
    wait_drawn(page, "score-map")
    check_map(page, logits["total"])
    assert page.url == url
    page.go_back()
    wait_region(page)
    assert page.url != url
    page.click("#attention-whole")
    wait_until(page, "!location.href.includes('region')")
    wait_region(page)
    check_map(page, logits["total"])


def test_zooming_out_doubles_both_sides(page, kept):
    address, logits = kept
    page.goto(f"{address}&region=400-500,100-200")
    wait_drawn(page, "score-map")
    page.click("#attention-out")
    page.wait_for_url(re.compile("region=350-550"))
    wait_region(page)
    assert read_fields(page)["region"] == "350-550,50-250"
    check_map(page, logits["total"])


def test_maxima_and_chosen_pairs_are_those_of_the_file(page, kept):
    address, logits = kept
    page.goto(f"{address}&statistic=maximum")
    wait_drawn(page, "score-map")
    check_map(page, logits["total"], np.max)
    page.goto(f"{address}&what=1-2&statistic=maximum&region=800-1000,200-500")
    wait_drawn(page, "score-map")
    check_map(page, logits["past"], np.max)
    page.fill("#attention-pairs", "1, 2")
    page.press("#attention-pairs", "Enter")
    page.wait_for_url(re.compile("what=1%2C2"))


def test_the_tokens_under_the_pointer_are_named_in_their_text(page, kept):
    address, text = kept[0], kept[1]["text"]
    page.goto(f"{address}&region=700-740,300-340")
    wait_drawn(page, "score-map")
    box = page.evaluate(DRAG)
    page.mouse.move(box["x"] + 99, box["y"] + 99)
    page.mouse.move(box["x"] + 0.5125 * box["width"], box["y"] + 0.5125 * box["height"], steps=3)
    wait_until(page, "document.querySelector('#attention-query-place').textContent === 'query 720'")
    assert page.inner_text("#attention-key-place") == "key 320"
    for side, position in (("query", 720), ("key", 320)):
        shown = page.text_content(f"#attention-{side}-token")
        assert shown == text[position].replace("\n", "↵")


def test_a_long_map_is_computed_in_the_background(page, kept, monkeypatch):
    address, logits = kept
    monkeypatch.setattr(score_map, "DIRECT", 1000)
    page.goto(f"{address}&what=past&statistic=maximum")
    wait_drawn(page, "score-map")
    check_map(page, logits["past"], np.max)


def test_a_long_map_can_be_stopped_and_started_again(page, kept, monkeypatch):
    address, _ = kept
    monkeypatch.setattr(score_map, "DIRECT", 1000)
    slow = attention_map.map_scores

    def dawdle(*arguments, progress, **options):
        while progress(0.25):
            time.sleep(0.02)
        raise score_map.Stopped

    monkeypatch.setattr(attention_map, "map_scores", dawdle)
    page.goto(f"{address}&what=all&statistic=maximum")
    page.get_by_text("25% done").wait_for()
    page.get_by_role("button", name="Stop").click()
    page.get_by_text("Stopped.").wait_for()
    monkeypatch.setattr(attention_map, "map_scores", slow)
    page.get_by_role("button", name="Start again").click()
    wait_drawn(page, "score-map")


def test_a_capture_without_kept_heads_says_how_to_keep_them(page, kept):
    address, _ = kept
    page.goto(address.replace("kept.h5", "example-8192.h5"))
    page.get_by_text("ropediag capture --model demo --len 8192 --keep-qk").first.wait_for()

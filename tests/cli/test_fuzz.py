"""Random mistakes never reach the last handler by a fault of ours."""

import os
import time

from tests.cli.fuzz import fuzz

CALLS = 5000 if os.environ.get("ROPEDIAG_LONG") else 400
FAULTS = {"TypeError", "IndexError", "KeyError", "AttributeError", "ZeroDivisionError", "AssertionError"}


def test_random_mistakes_are_answered_before_the_last_handler(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ropediag.app.server.serve", lambda *arguments, **options: None)
    begun = time.process_time()
    tally = fuzz(tmp_path, CALLS, seed=0)
    took = time.process_time() - begun
    with capsys.disabled():
        print(f"\n{tally.calls} calls, {took:.0f} s of processor time: {dict(tally.ends)}")
        for kind, place, words in tally.unforeseen:
            print(f"  {kind} at {place}: {words[:200]}")
    assert tally.ends["refused"] > CALLS / 4
    assert tally.left == []
    assert [each for each in tally.unforeseen if each[0] in FAULTS] == []
    assert [each for each in tally.unforeseen if each[1].startswith(("ropediag/", "app/"))] == []

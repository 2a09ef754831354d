"""Runs of numbers are drawn together, others stand alone."""

from ropediag.analysis.runs import word_runs


def test_runs_are_drawn_together_and_others_stand_alone():
    assert word_runs([0, 1, 2, 3, 7]) == "0-3, 7"
    assert word_runs([11, 12, 20, 22, 23], " to ") == "11 to 12, 20, 22 to 23"
    assert word_runs([4], between=",") == "4"
    assert word_runs([]) == ""

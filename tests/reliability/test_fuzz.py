"""The short version of the fuzz run; `make reliability` has the long one."""

import pytest

from ropediag.store import CaptureWriter
from ropediag.store.seal import SIZE
from tests.reliability.fuzz import fuzz, mutate
from tests.store.synthetic import make_attributes, make_header, make_layer, make_loss, write_capture
from tests.trials import Trials, long_or


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_capture(tmp_path_factory.mktemp("source") / "run.h5")


def test_damaged_files_are_refused_or_give_the_original_numbers(source, tmp_path):
    count = long_or(20_000, 400)
    with Trials("damaged files: refused, or the original numbers, in 5 s and 1 GiB") as trials:
        tally = fuzz(source, tmp_path, 0, count)
        trials.count(count, [f"{outcome}, seed {seed}" for seed, outcome in tally.failed])
    assert set(tally.outcomes) <= {"refused", "same"}
    assert tally.outcomes["refused"] > 0.8 * count


@pytest.mark.parametrize("unit", ["header.h5", "layer-0000-0001.h5", "loss-0000.h5"])
def test_damaged_units_of_growing_captures_are_refused_or_give_the_original_numbers(tmp_path, unit):
    header, count = make_header(), long_or(1000, 40)
    with CaptureWriter.create(tmp_path / "run.h5", header, make_attributes()) as writer:
        for place in [(0, 0), (0, 1), (1, 2)]:
            writer.write_layer(*place, make_layer(header, *place))
        writer.write_loss(0, make_loss(0))
    with Trials(f"damaged units of growing captures, {unit}") as trials:
        tally = fuzz(tmp_path / "run.h5.partial" / unit, tmp_path, 0, count)
        trials.count(count, [f"{outcome}, seed {seed}" for seed, outcome in tally.failed])
    assert set(tally.outcomes) <= {"refused", "same"}
    assert tally.outcomes["refused"] > 0.8 * count


def test_a_mutant_is_another_file_and_comes_from_its_seed(source):
    image = source.read_bytes()
    mutants = [mutate(image[:-SIZE], seed) for seed in range(60)]
    assert mutants == [mutate(image[:-SIZE], seed) for seed in range(60)]
    assert sum(mutant != image[:-SIZE] for mutant in mutants) > 50
    assert len({len(mutant) for mutant in mutants}) > 3


def test_a_reader_that_dies_is_noticed_with_its_seed_and_the_next_goes_on(source, tmp_path):
    (tmp_path / "mutant.h5").mkdir()  # so that no mutant can be written
    assert fuzz(source, tmp_path, 5, 7).failed == [(5, "crash 1"), (6, "crash 1")]

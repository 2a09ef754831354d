"""The first look at a capture, on captures whose numbers are planted."""

import numpy as np
import pytest

from ropediag.analysis.glance import glance
from ropediag.analysis.limit import EXCESS_AT, measure_limit
from ropediag.limits import extrapolation_limit
from ropediag.store import CaptureWriter, open_capture
from tests.store.synthetic import make_attributes, make_header, make_layer

LENGTH, TRAIN_LEN, SEQUENCES, LAYERS = 400, 100, 3, (0, 1)


def write(path, excess, *, windowed=True, attributes=None, spoil=None):
    """A capture with the given excess (sequence, position) and random layers that ``spoil`` may change."""
    header = make_header(SEQUENCES, LAYERS, length=LENGTH)
    header["position_bin"] = np.arange(0, LENGTH, 50)
    known = {"length": LENGTH, "train_len": TRAIN_LEN, "tune_len": TRAIN_LEN, "pretrain_base": 10_000.0}
    with CaptureWriter.create(path, header, make_attributes(**known | (attributes or {}))) as writer:
        for sequence in range(SEQUENCES):
            for layer in LAYERS:
                unit = make_layer(header, sequence, layer)
                if spoil is not None:
                    spoil(unit, sequence, layer)
                writer.write_layer(sequence, layer, unit)
            base = np.full(LENGTH, 2.0, dtype="f4")
            base[0] = np.nan
            loss = {"loss/nll": base + excess[sequence].astype("f4")}
            writer.write_loss(sequence, loss | ({"loss/nll_windowed": base} if windowed else {}))
        writer.finish({"seconds": 1.0})
    return open_capture(path)


@pytest.fixture
def rising():
    """No excess up to position 200, one nat from there on."""
    return np.broadcast_to(np.where(np.arange(LENGTH) < 200, 0.0, 1.0), (SEQUENCES, LENGTH))


def test_the_measured_limit_is_that_of_the_excess(tmp_path, rising):
    with write(tmp_path / "a.h5", rising) as capture:
        found = glance(capture)
    excess = rising.astype(float).copy()
    excess[:, 0] = np.nan
    assert found.measured == measure_limit(excess, TRAIN_LEN)
    assert abs(found.measured.position - 200) <= found.measured.span


def test_the_excess_is_read_at_multiples_of_the_training_length(tmp_path, rising):
    with write(tmp_path / "a.h5", rising) as capture:
        found = dict(glance(capture).excess)
    assert list(found) == [multiple for multiple in EXCESS_AT if multiple * TRAIN_LEN < LENGTH]
    assert found[1.0] == found[1.5] == 0.0
    assert found[2.0] == pytest.approx(0.5)  # centred on the step


def test_without_a_windowed_loss_nothing_is_measured(tmp_path, rising):
    with write(tmp_path / "a.h5", rising, windowed=False) as capture:
        found = glance(capture)
    assert found.measured is None
    assert found.excess == ()


def test_theory_is_the_extrapolation_law_with_base_and_lengths_of_the_capture(tmp_path, rising):
    tuned = {"base": 10_000.0, "pretrain_base": 100.0, "train_len": 100, "tune_len": 160}
    with write(tmp_path / "a.h5", rising, attributes=tuned) as capture:
        found = glance(capture)
        critical = int(capture.critical_pair.max())
    assert found.predicted_limit == extrapolation_limit(6, 10_000.0, 100.0, 100, 160)
    assert found.critical_pair == critical


def test_a_shift_of_the_partial_logits_beyond_the_training_length_is_seen(tmp_path, rising):
    """Query bins 0 and 50 lie within the training length, the other six beyond it."""

    def shift(unit, sequence, layer):
        for side, inside, beyond in (("before", 1.0, 1.0), ("past", 2.0, 5.0)):
            mean = np.full_like(unit[f"partial/{side}_mean"], beyond)
            mean[:, :2] = inside
            if side == "past" and layer == 1:
                mean[3, 2:] = 8.0  # one head moves twice as far
            unit[f"partial/{side}_mean"] = mean
            unit[f"partial/{side}_std"] = np.full_like(mean, 1.5)

    with write(tmp_path / "a.h5", rising, spoil=shift) as capture:
        found = glance(capture)
    assert (found.before.inside, found.before.beyond, found.before.largest) == (1.0, 1.0, 0.0)
    assert found.past.inside == pytest.approx(2.0)
    assert found.past.beyond == pytest.approx(5.0 + 3.0 / 8)  # one of eight heads
    assert found.past.largest == pytest.approx(6.0 / 1.5)


def test_a_capture_within_the_training_length_has_no_shift(tmp_path, rising):
    with write(tmp_path / "a.h5", rising, attributes={"train_len": LENGTH, "tune_len": LENGTH}) as capture:
        found = glance(capture)
    assert found.before is None
    assert found.past is None

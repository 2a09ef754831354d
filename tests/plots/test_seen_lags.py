"""Bands of seen and unseen lags: every stretch that is drawn is unseen, marks are those of the pairs."""

import numpy as np
import pytest

from ropediag import open_capture
from ropediag.analysis.seen_lags import measure_seen_lags, predict_seen_lags
from ropediag.errors import ConfigError
from ropediag.plots.seen_lags import plot_seen_lags
from ropediag.prediction import predict
from ropediag.rope import inv_freq
from ropediag.theory.training import plain_training
from tests.analysis.captures import EXAMPLE
from tests.trained import one_layer

TRAINING = plain_training(64, 160_000.0, pretrain_base=10_000.0, train_len=128, tune_len=128)
LENGTH = 4000


@pytest.fixture(scope="module")
def seen():
    return measure_seen_lags(TRAINING, LENGTH)


def trace_of(figure, name):
    (found,) = [trace for trace in figure.data if trace.name == name]
    return found


def test_each_lag_is_in_a_stretch_exactly_where_its_angle_is_unseen(seen):
    unseen = TRAINING.is_unseen(np.arange(LENGTH))[0]
    for pair in range(32):
        intervals = zip(seen.unseen_start[0, pair].values, seen.unseen_stop[0, pair].values, strict=True)
        known = [(low, high) for low, high in intervals if np.isfinite(low)]
        found = [any(low <= lag < high for low, high in known) for lag in range(LENGTH)]
        np.testing.assert_array_equal(found, unseen[pair])


def test_a_prediction_has_the_lags_of_its_training(seen):
    answer = predict(base=160_000.0, rotary_dim=64, train_len=128, tune_len=128, pretrain_base=10_000.0,
                     retrieval=False)  # fmt: skip
    found = predict_seen_lags(answer, LENGTH)
    for name in seen:
        np.testing.assert_allclose(found[name].values, seen[name].values, rtol=1e-12)


def test_stretches_and_marks_are_drawn_where_they_are(seen):
    figure = plot_seen_lags(seen, measured_limit=468)
    stretches = trace_of(figure, "never seen")
    begin, end = seen.unseen_start.values[0], seen.unseen_stop.values[0]
    place = np.argwhere(np.isfinite(begin))
    x, y = np.array(stretches.x).reshape(-1, 3), np.array(stretches.y).reshape(-1, 3)
    np.testing.assert_array_equal(x[:, 0], [begin[tuple(at)] for at in place])
    np.testing.assert_array_equal(x[:, 1], [end[tuple(at)] for at in place])
    np.testing.assert_array_equal(y[:, 0], place[:, 0])
    reach = trace_of(figure, "trained reach")
    assert dict(zip(reach.y, reach.x, strict=True)) == {
        pair: value for pair, value in enumerate(seen.reach.values[0]) if np.isfinite(value)
    }
    told = " ".join(note.text for note in figure.layout.annotations)
    assert told == "first reach 332 predicted limit 386 measured limit 468"


def test_a_model_that_was_trained_everywhere_has_no_stretch():
    figure = plot_seen_lags(measure_seen_lags(one_layer(inv_freq(8, 4.0), (inv_freq(8, 4.0), 4096)), 9000))
    assert len(trace_of(figure, "never seen").x) == 0
    assert len(trace_of(figure, "trained reach").x) == 0


def test_a_layer_that_does_not_rotate_is_refused(seen):
    still = seen.copy(deep=True)
    still.period[:] = np.nan
    with pytest.raises(ConfigError, match="layer 0 has no rotary pairs"):
        plot_seen_lags(still, layer=0)


def test_the_layer_of_a_capture_is_drawn_by_its_coordinate():
    with open_capture(EXAMPLE) as capture:
        found = measure_seen_lags(capture)
    assert "layer 2" in plot_seen_lags(found, layer=2).layout.xaxis.title.text

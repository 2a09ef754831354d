"""The bundled model, untuned, at 8 and 16 times its training length: drift sits past the critical pair."""

import pytest

from ropediag import CaptureConfig, capture_checkpoint, open_capture
from ropediag.analysis.verdict import judge_capture
from tests.trials import only_long


@pytest.mark.parametrize("multiple", [only_long(8), 16])
def test_drift_sits_past_the_critical_pair_and_begins_near_it(tmp_path, multiple):
    config = CaptureConfig(
        model="demo", length=128 * multiple, sequences=16, rows=4, out=tmp_path / "demo.h5", excess=False
    )
    with open_capture(capture_checkpoint(config)) as capture:
        verdict = judge_capture(capture)
    assert verdict.critical_pair == 11
    assert verdict.past_critical >= 0.9
    assert 11 <= verdict.onset_pair_low <= verdict.onset_pair <= verdict.onset_pair_high <= 14
    assert {head["onset_pair"] for head in verdict.heads} <= {11, 12, 13, 14, 15, None}

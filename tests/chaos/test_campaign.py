"""The fast set: real processes, killed, frozen and cut off, and not one job lost, doubled or wrong."""

import os
from functools import partial

import pytest

from tests.chaos.campaign import fast_lanes, run_campaign
from tests.chaos.nemesis import everything_at_once

pytestmark = pytest.mark.alone
SEED = int(os.environ.get("CHAOS_SEED", "20240611"))


def test_no_failure_of_the_fast_set_loses_doubles_or_changes_a_job(
    capsys: pytest.CaptureFixture[str],
) -> None:
    outcome = run_campaign(SEED, fast_lanes(), [partial(everything_at_once, for_s=60.0)])
    with capsys.disabled():
        print(f"\nseed={outcome.seed}\n{outcome.report.line}")
    assert outcome.is_clean, f"{outcome.describe()}\n{outcome.logs}"

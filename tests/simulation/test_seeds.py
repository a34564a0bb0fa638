"""Ten thousand fleets with faults, two million steps: nothing is lost, done twice, or stuck.

SIMULATION_SEEDS asks for more of them, as before a release: 50,000 seeds are ten million steps.
"""

import os
from collections import Counter

import pytest

from tests.simulation.invariants import find_stuck, find_violations
from tests.simulation.mutants import MUTANTS
from tests.simulation.world import WHOLE, Rules, World, drain, run_seed

SEEDS = int(os.environ.get("SIMULATION_SEEDS", "10000"))
PARTS = 10
DRAINED_EVERY = 20  # seeds
MUTANT_SEEDS = 1000
# Each of these must have happened in every part, or the simulation has become too tame to prove anything.
SOMETIMES = {
    "callers": ("submitted", "key_known", "submit_again", "cancelled", "retried"),
    "ends": ("scored", "scored_alone", "reused", "expired", "rejected", "exhausted"),
    "claims": ("refused_done", "refused_held", "refused_ended", "refused_not_yet", "refused_exhausted"),
    "replies": ("claim_without_reply", "unknown_commits", "asked_again", "gave_up", "beat_failed"),
    "late workers": (
        "stale_finish",
        "stale_fan_out",
        "stale_release",
        "stale_only_shard",
        "stopped_early",
        "scored_again",
    ),
    "slots that go on": ("taken", "died_with_what_it_took"),
    "recovery": ("taken_back", "rung_again", "released", "last", "recalled", "replanned", "waited_for_twin"),
    "doorbells": ("kept",),
    "faults": ("killed", "paused", "poisoned", "broker_flushed", "broker_down", "relay_failed"),
}


def check_seed(seed: int, rules: Rules = WHOLE) -> tuple[World, list[str]]:
    world = run_seed(seed, rules)
    return world, find_violations(world) + find_stuck(world)


@pytest.mark.parametrize("part", range(PARTS))
def test_no_seed_breaks_an_invariant(part: int) -> None:
    seen = Counter[str]()
    for seed in range(part, SEEDS, PARTS):
        world, violations = check_seed(seed)
        if seed // PARTS % DRAINED_EVERY == 0 and not violations:
            left = drain(world)
            violations = find_violations(world) + [f"{left} jobs never ended"] * bool(left)
        assert violations == [], f"seed {seed}: {violations}"
        seen.update(world.seen)
        seen["unknown_commits"] += world.store.unknown_commits
    if SEEDS >= 10_000:
        assert [name for names in SOMETIMES.values() for name in names if not seen[name]] == []


@pytest.mark.parametrize("missing", MUTANTS)
def test_a_fleet_without_a_safeguard_is_found_out(missing: str) -> None:
    assert any(check_seed(seed, MUTANTS[missing])[1] for seed in range(MUTANT_SEEDS))


def test_a_seed_is_the_same_run_each_time() -> None:
    first, second = run_seed(7), run_seed(7)
    assert (first.seen, first.now_s) == (second.seen, second.now_s)
    assert first.seen != run_seed(8).seen

"""Every member of the closed lists has its words, and numbers for people never claim certainty."""

from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.output import words
from engine.results import (
    EvidenceReason,
    FaceRegion,
    MediaWarning,
    MissingSamples,
    Outcome,
    VerdictReason,
    VerdictValue,
)

TABLES = (
    (words.VERDICTS, VerdictValue),
    (words.OUTCOMES, Outcome),
    (words.EVIDENCE, EvidenceReason),
    (words.WARNINGS, MediaWarning),
    (words.VERDICT_REASONS, VerdictReason),
    (words.REGIONS, FaceRegion),
)


@pytest.mark.parametrize(("table", "members"), TABLES, ids=[members.__name__ for _, members in TABLES])
def test_every_member_has_words_of_its_own(table: dict[StrEnum, str], members: type[StrEnum]) -> None:
    assert list(table) == list(members)
    assert len(set(table.values())) == len(members)
    assert all(table.values())


def test_no_words_call_a_video_fake_or_authentic() -> None:
    said = " ".join(text for table, _ in TABLES for text in table.values()).lower()
    assert "fake" not in said
    assert "authentic" not in said


@given(st.floats(0, 1))
def test_scores_are_never_shown_as_certain(score: float) -> None:
    assert 0.01 <= float(words.format_score(score)) <= 0.99


def test_absent_scores_are_a_dash() -> None:
    assert words.format_score(None) == "–"


@pytest.mark.parametrize(
    ("time_us", "said"),
    [(0, "0:00.0"), (6_049_999, "0:06.0"), (59_960_000, "1:00.0"), (3_723_400_000, "1:02:03.4")],
)
def test_times_are_rounded_to_tenths(time_us: int, said: str) -> None:
    assert words.format_clock(time_us) == said


@pytest.mark.parametrize(("share", "said"), [(0.0, "0 %"), (0.001, "1 %"), (0.999, "99 %"), (1.0, "100 %")])
def test_shares_are_whole_only_if_they_are(share: float, said: str) -> None:
    assert words.format_share(share) == said


def test_lost_samples_are_named_one_by_one_as_long_as_a_sentence_can() -> None:
    few = MissingSamples(EvidenceReason.NOT_DECODED, "damaged", 2, 500_000, 4_000_000, (500_000, 4_000_000))
    many = MissingSamples(
        EvidenceReason.NOT_DECODED, "damaged", 60, 0, 59_000_000, tuple(range(0, 60_000_000, 1_000_000))
    )
    assert words.say_missing(few) == "2 frames at 0:00.5, 0:04.0: damaged"
    assert words.say_missing(many) == "60 frames from 0:00.0 to 0:59.0: damaged"


def test_a_card_is_read_alike_whether_it_was_written_here_or_imported() -> None:
    assert words.find_silent(["error_rates", "training data"]) == ["not shown to detect"]


def test_the_command_that_names_a_model_can_be_pasted() -> None:
    assert words.say_caution("my models/x").endswith("fakesieve model show 'my models/x'")

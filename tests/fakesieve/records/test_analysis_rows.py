"""What rows of analyses say, those of older releases too."""

from engine.results import EvidenceReason, MissingSamples
from fakesieve.records.analysis_rows import read_missing
from fakesieve.records.analysis_tables import Analysis


def test_samples_of_which_an_older_release_kept_first_and_last_alone_are_still_read() -> None:
    kept = {"reason": "not_decoded", "detail": "damaged", "count": 3, "first_us": 40_000, "last_us": 900_000}
    assert read_missing(Analysis(missing=[kept], frames_sampled=9, frames_decoded=6)) == (
        MissingSamples(EvidenceReason.NOT_DECODED, "damaged", 3, 40_000, 900_000, None),
    )

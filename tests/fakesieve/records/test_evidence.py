"""What a review page reads of a long video: scores over time whole, places and maps in pieces."""

import math
import random
import zlib
from dataclasses import replace

import pytest

from engine.results import EvidenceReason
from fakesieve.database import Database
from fakesieve.records.analyses import store_analysis
from fakesieve.records.evidence import load_faces
from fakesieve.records.score_series import Lane, load_lanes
from tests.factories import SECOND_US, make_maps, make_record, make_score, make_tenant, make_track, make_video

SECONDS, RESTLESS = 4000, 1000


@pytest.fixture(scope="module")
def stored(module_database: Database) -> tuple[str, str, bytes]:
    """Tenant, analysis and cells of a face that is there for an hour, restless in its first quarter alone."""
    track = make_track(scores=(0.9,) * (SECONDS - 1) + (None,))
    maps = make_maps(track)
    size = maps.grid**2
    cells = random.Random(1).randbytes(RESTLESS * size) + bytes((len(maps.pts_us) - RESTLESS) * size)
    tenant_id = make_tenant(module_database)
    with module_database.transaction(tenant_id=tenant_id) as session:
        video_id = make_video(session, tenant_id)
        record = make_record(tenant_id, video_id, score=make_score(tracks=(track,)))
        record = replace(record, maps=(replace(maps, packed=zlib.compress(cells)),))
        analysis_id, _ = store_analysis(session, record)
    return tenant_id, analysis_id, cells


@pytest.mark.parametrize(
    ("start", "end"), [(0, 120), (500, 1000), (999, 1001), (2000, 2001), (3900, 5000), (0, SECONDS)]
)
def test_a_piece_has_the_maps_of_its_samples_however_they_pack(
    module_database: Database, stored: tuple[str, str, bytes], start: int, end: int
) -> None:
    tenant_id, analysis_id, cells = stored
    with module_database.transaction(tenant_id=tenant_id) as session:
        found = load_faces(session, analysis_id, start * SECOND_US, end * SECOND_US)
    assert found is not None
    faces, (maps,) = found
    assert [face.pts_us for face in faces] == [at * SECOND_US for at in range(start, min(end, SECONDS))]
    last, size = min(end, SECONDS - 1), maps.grid**2
    assert list(maps.pts_us) == [at * SECOND_US for at in range(start, last)]
    assert len(maps.to_frame) == 6 * (last - start)
    assert maps.cells == cells[start * size : last * size]


def read(lane: Lane) -> tuple[list[int], list[float | None]]:
    """Return times and scores, None where there is no score."""
    return list(lane.pts_us), [None if math.isnan(score) else score for score in lane.scores]


def test_lanes_have_each_sample_of_each_face(
    module_database: Database, stored: tuple[str, str, bytes]
) -> None:
    tenant_id, analysis_id, _ = stored
    with module_database.transaction(tenant_id=tenant_id) as session:
        lanes = load_lanes(session, analysis_id)
    assert lanes is not None
    assert lanes.highest is not None
    assert read(lanes.highest) == ([0, SECOND_US, 2 * SECOND_US], [0.9, 0.95, None])
    assert list(lanes.faces) == [0]
    times = [at * SECOND_US for at in range(SECONDS)]
    assert read(lanes.faces[0]) == (times, [0.9] * (SECONDS - 1) + [None])
    assert lanes.faces[0].reasons == [None] * (SECONDS - 1) + [EvidenceReason.FACE_TOO_SMALL]


def test_of_another_tenant_there_is_nothing(
    module_database: Database, stored: tuple[str, str, bytes]
) -> None:
    with module_database.transaction(tenant_id=make_tenant(module_database, "other")) as session:
        assert load_lanes(session, stored[1]) is None
        assert load_faces(session, stored[1], 0, SECOND_US) is None

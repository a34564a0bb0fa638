"""Results over HTTP: lists by filter, one by one, patch maps, counts and files."""

import base64
import csv
import io
import json
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from httpx2 import Response
from sqlalchemy import text

from api.routes.exports import walk_lines
from fakesieve.database import Database
from fakesieve.embedded.postgres import SUPERUSER, PostgresServer
from fakesieve.object_stores.s3 import S3Objects
from fakesieve.objects import VideoRef
from fakesieve.records.analysis_lists import AnalysisQuery
from fakesieve.records.videos import record_source
from tests.api.callers import Caller, make_caller, reason_of
from tests.api.results import store_result, store_results
from tests.databases import opened
from tests.factories import GRID, make_score

Ids = dict[str, str]


@pytest.fixture
def ids(module_database: Database, acme: Caller) -> Ids:
    """Analyses of the caller by label, oldest first: high, middle, none."""
    return store_results(module_database, acme.tenant_id)


def _labels(answer: Response) -> list[str]:
    return [each["external_id"] for each in answer.json()["data"]]


def test_a_list_is_newest_first_and_by_filter(acme: Caller, ids: Ids) -> None:
    assert _labels(acme.get("/v1/analyses")) == ["none", "middle", "high"]
    wanted = "tracks.regions.mouth>0.5 AND score >= 0.49"
    assert _labels(acme.get("/v1/analyses", filter=wanted)) == ["high"]
    assert _labels(acme.get("/v1/analyses", order_by="score desc")) == ["high", "middle", "none"]


def test_pages_follow_each_other_and_tokens_are_bound(acme: Caller, other: Caller, ids: Ids) -> None:
    first = acme.get("/v1/analyses", page_size=2, filter="coverage.ratio>=0").json()
    token = first["next_page_token"]
    rest = acme.get("/v1/analyses", page_size=2, filter="coverage.ratio>=0", page_token=token).json()
    assert [each["external_id"] for each in first["data"] + rest["data"]] == ["none", "middle", "high"]
    assert rest["next_page_token"] is None
    for query in ({"filter": "coverage.ratio>0"}, {"order_by": "score"}, {}):  # A16
        answer = acme.get("/v1/analyses", page_token=token, **query)
        assert reason_of(answer) == (422, "INVALID_PAGE_TOKEN")
    same = other.get("/v1/analyses", filter="coverage.ratio>=0", page_token=token)
    assert reason_of(same) == (422, "INVALID_PAGE_TOKEN")
    flipped = token[:-2] + ("A" if token[-2] != "A" else "B") + token[-1]
    assert reason_of(acme.get("/v1/analyses", filter="coverage.ratio>=0", page_token=flipped))[0] == 422


@pytest.mark.parametrize(
    "query",
    [
        {"filter": "score > 0.5; DROP TABLE analysis"},
        {"filter": "external_id = ' OR 1=1 --"},
        {"filter": "verdict = fake"},
        {"filter": "tenant_id = ten_other"},  # A08
        {"filter": "score > 1e999"},  # A12
        {"filter": "(" * 500},
        {"order_by": "score desc; DROP TABLE analysis"},
        {"order_by": "tenant_id"},
    ],
)  # fmt: skip
def test_a15_what_is_no_filter_is_refused_with_its_place(acme: Caller, query: dict[str, str]) -> None:
    answer = acme.get("/v1/analyses", **query)
    assert reason_of(answer) == (422, "INVALID_FILTER")
    assert answer.json()["hint"]


def test_a15_a_quoted_statement_is_a_value(acme: Caller, ids: Ids) -> None:
    assert _labels(acme.get("/v1/analyses", filter='external_id = "\' OR 1=1 --"')) == []
    assert len(_labels(acme.get("/v1/analyses"))) == 3


def test_a17_page_sizes_are_bounded(acme: Caller, ids: Ids) -> None:
    assert reason_of(acme.get("/v1/analyses", page_size=-1))[0] == 422
    assert acme.get("/v1/analyses", page_size=10**9).status_code == 200


def test_one_analysis_in_short_and_in_full(acme: Caller, ids: Ids) -> None:
    path = f"/v1/analyses/{ids['middle']}"
    short, full = acme.get(path).json(), acme.get(path, view="full").json()
    assert short["score"] == {"raw": 0.9, "calibrated": 0.45, "interval": [0.225, 0.9]}
    assert short["verdict"]["policy"] == "balanced@1"
    assert short["verdict"]["thresholds"] == {"low": 0.3, "high": 0.7}
    assert (short["tracks"], short["time_series"]) == (None, None)
    assert [track["ordinal"] for track in full["tracks"]] == [0, 1]
    assert full["tracks"][0]["regions"] == {"left_eye": 0.125, "mouth": 0.7}
    assert full["tracks"][0]["id"].startswith("trk_")
    assert full["coverage"]["faces_rejected"] == {"face_too_small": 1}
    assert full["coverage"]["missing"] == [
        {
            "reason": "not_decoded",
            "detail": "DECODE_TIMEOUT: took too long",
            "count": 1,
            **dict.fromkeys(("first_us", "last_us"), 2_000_000),
            "pts_us": [2_000_000],
        }
    ]
    assert full["time_series"]["score"] == [0.9, 0.95, None]
    assert full["peak_track"] == 0
    assert {name for name in full if full[name] != short[name]} == {
        *("coverage", "tracks", "segments", "time_series", "timings_ms", "peak_track")
    }


def test_fields_give_a_part(acme: Caller, ids: Ids) -> None:
    path = f"/v1/analyses/{ids['high']}"
    part = {"id": ids["high"], "score": {"raw": 0.98}, "tracks": [{"ordinal": 0}]}
    assert acme.get(path, view="full", fields="id,score.raw,tracks.ordinal").json() == part
    assert acme.get("/v1/analyses", fields="outcome", page_size=1).json()["data"][0].keys() == {"outcome"}
    wrong = ("nothing", "score.nothing", "id.x", "", "__class__")
    assert {reason_of(acme.get(path, fields=each)) for each in wrong} == {(422, "INVALID_REQUEST")}
    for name in ("tracks", "segments", "time_series", "timings_ms", "peak_track"):  # not looked at, not null
        refused = {acme.get(each, fields=name).json()["detail"] for each in ("/v1/analyses", path)}
        assert refused == {f"fields: {name} is not looked at for this answer"}


def test_a06_ids_of_another_tenant_are_not_there(acme: Caller, other: Caller, ids: Ids) -> None:
    base = f"/v1/analyses/{ids['high']}"
    for path in ("", "/tracks", "/segments", "/frames", "/tracks/0/maps", "/artifacts"):
        assert acme.get(base + path).status_code == 200
        assert reason_of(other.get(base + path)) == (404, "NOT_FOUND")
        assert other.get(base + path).json()["detail"] == f"there is no analysis {ids['high']}"
    assert other.get("/v1/analyses").json()["data"] == []
    assert other.get("/v1/analyses:count").json()["total"] == 0
    assert other.get("/v1/analyses:export", format="jsonl").content == b""


def test_a05_each_route_asks_for_its_scope(
    app_client: object, module_database: Database, acme: Caller, ids: Ids
) -> None:
    weak = make_caller(
        acme.client, module_database, tenant_id=acme.tenant_id, scopes=frozenset({"jobs:read"})
    )
    for path in ("", f"/{ids['high']}", f"/{ids['high']}/frames", ":count", ":export"):
        assert reason_of(weak.get(f"/v1/analyses{path}")) == (403, "MISSING_SCOPE")
    assert reason_of(weak.post("/v1/exports", {"format": "csv"})) == (403, "MISSING_SCOPE")


def test_analyses_of_a_deleted_video_are_hidden(module_database: Database, acme: Caller, ids: Ids) -> None:
    with module_database.transaction(tenant_id=acme.tenant_id) as session:
        session.execute(
            text("UPDATE video SET delete_time = now(), purge_time = now() WHERE external_id = 'high'")
        )
    assert _labels(acme.get("/v1/analyses")) == ["none", "middle"]
    assert reason_of(acme.get(f"/v1/analyses/{ids['high']}")) == (404, "NOT_FOUND")
    assert acme.get("/v1/analyses:count").json()["total"] == 2


def test_frames_page_by_track_and_time(acme: Caller, ids: Ids) -> None:
    path = f"/v1/analyses/{ids['middle']}/frames"
    first = acme.get(path, page_size=4).json()
    rest = acme.get(path, page_size=4, page_token=first["next_page_token"]).json()
    seen = [(each["track"], each["pts_us"], each["score"]) for each in first["data"] + rest["data"]]
    assert seen == [(0, 0, 0.9), (0, 10**6, 0.95), (0, 2 * 10**6, None), (1, 0, 0.2), (1, 10**6, 0.3)]
    assert first["data"][2]["exclude_reason"] == "face_too_small"
    assert [each["track"] for each in acme.get(path, track=1).json()["data"]] == [1, 1]


def test_segments_and_tracks_are_lists(acme: Caller, ids: Ids) -> None:
    segments = acme.get(f"/v1/analyses/{ids['high']}/segments").json()
    assert [(each["kind"], each["regions"]) for each in segments["data"]] == [
        ("suspicious", ["mouth"]),
        ("excluded", []),
    ]
    tracks = acme.get(f"/v1/analyses/{ids['high']}/tracks").json()
    assert tracks["data"][0]["maps"] == f"/v1/analyses/{ids['high']}/tracks/0/maps"


def test_patch_maps_in_each_form(acme: Caller, ids: Ids) -> None:
    path = f"/v1/analyses/{ids['high']}/tracks/0/maps"
    cells = bytes(range(GRID * GRID))
    u8 = acme.get(path).json()
    assert (u8["kind"], u8["grid"], len(u8["maps"])) == ("trained_patch", GRID, 3)
    assert base64.b64decode(u8["maps"][0]["u8"]) == cells
    assert u8["maps"][0]["to_frame"] == [[1.5, 0.0, 240.25], [0.0, 1.5, 90.125]]
    array = np.load(io.BytesIO(acme.get(path, format="npy").content))
    assert array.shape == (3, GRID, GRID)
    assert array[0].tobytes() == cells
    rle = acme.get(path, format="rle", at_us=0, threshold=10 / 255).json()
    assert rle["maps"][0]["counts"] == [10, 6]
    png = acme.get(path, format="png", at_us=0)
    assert png.headers["content-type"] == "image/png"
    assert _first_pixels(png.content) == [0, 1, 2, 3]  # how opaque the first row of cells is
    assert reason_of(acme.get(f"/v1/analyses/{ids['high']}/tracks/7/maps")) == (404, "NOT_FOUND")
    assert reason_of(acme.get(path, threshold=2))[0] == 422


def _first_pixels(png: bytes) -> list[int]:
    width, _, depth, colour = struct.unpack(">IIBB", png[16:26])
    assert (depth, colour) == (8, 6)
    start = png.index(b"IDAT")
    (length,) = struct.unpack(">I", png[start - 4 : start])
    line = zlib.decompress(png[start + 4 : start + 4 + length])[1 : 1 + 4 * width]
    return [line[3 + 4 * x] for x in range(0, width, width // GRID)]


def see(database: Database, caller: Caller, analysis_id: str, ref: VideoRef) -> None:
    video_id = caller.get(f"/v1/analyses/{analysis_id}").json()["video_id"]
    with database.transaction(tenant_id=caller.tenant_id) as session:
        record_source(session, tenant_id=caller.tenant_id, video_id=video_id, ref=ref)


def list_kinds(caller: Caller, analysis_id: str) -> list[str]:
    found = caller.get(f"/v1/analyses/{analysis_id}/artifacts").json()["data"]
    return [each["kind"] for each in found]


def test_the_link_to_a_video_is_made_when_asked_for(
    module_database: Database, store: S3Objects, acme: Caller, ids: Ids, clip: Callable[[str], str]
) -> None:
    for key in ("clips/one.mp4", "exports/ten_other/one.csv"):
        see(module_database, acme, ids["high"], store.head(VideoRef.parse_uri(clip(key))).ref)
    found = acme.get(f"/v1/analyses/{ids['high']}/artifacts").json()["data"]
    assert [each["kind"] for each in found] == ["video", "patch_maps"]
    assert "clips/one.mp4" in found[0]["href"]  # and not what lies in another tenant's folder
    assert "Signature" in found[0]["href"]
    link = acme.get(f"/v1/analyses/{ids['high']}/artifacts")
    assert (link.headers["cache-control"], link.headers.get("etag")) == ("no-store", None)
    assert found[0]["expire_time"].endswith("Z")


def test_a_link_never_leads_to_other_bytes_than_those_that_were_screened(
    module_database: Database, store: S3Objects, acme: Caller, ids: Ids, clip: Callable[..., str]
) -> None:
    older = store.head(VideoRef.parse_uri(clip("clips/older.mp4"))).ref
    newer = store.head(VideoRef.parse_uri(clip("clips/newer.mp4"))).ref
    for ref in (older, newer):
        see(module_database, acme, ids["high"], ref)
    clip("clips/newer.mp4", b"somebody has put another video here")
    assert (
        "clips/older.mp4"
        in acme.get(f"/v1/analyses/{ids['high']}/artifacts").json()["data"][0]["href"].partition("?")[0]
    )
    store.delete(older.loosen())
    assert list_kinds(acme, ids["high"]) == ["patch_maps"]


def test_a_place_that_was_taken_from_a_tenant_is_linked_to_no_more(
    module_database: Database, store: S3Objects, acme: Caller, ids: Ids, clip: Callable[[str], str]
) -> None:
    see(module_database, acme, ids["high"], store.head(VideoRef.parse_uri(clip("clips/lent.mp4"))).ref)
    assert list_kinds(acme, ids["high"]) == ["video", "patch_maps"]
    with module_database.transaction(tenant_id=None) as session:
        session.execute(text("UPDATE tenant SET places = '{}' WHERE id = :id"), {"id": acme.tenant_id})
    assert list_kinds(acme, ids["high"]) == ["patch_maps"]


def test_counts_by_what_was_asked(acme: Caller, ids: Ids) -> None:
    def count(by: str, **query: str) -> dict[tuple[str | None, ...], int]:
        answer = acme.get("/v1/analyses:count", by=by, **query).json()
        return {tuple(group["keys"].values()): group["count"] for group in answer["data"]}

    assert count("verdict") == {("inconclusive",): 2, (None,): 1}
    assert count("outcome") == {("no_face",): 1, ("partially_scored",): 2}
    assert count("reason") == {("no_face",): 1, ("partial_decode",): 2}
    assert count("verdict_reason", filter="outcome=no_face") == {("NO_EVIDENCE",): 1}
    pairs = count("reason,verdict_reason", filter="external_id=high")
    verdict = acme.get(f"/v1/analyses/{ids['high']}").json()["verdict"]
    assert pairs == {("partial_decode", reason): 1 for reason in verdict["reasons"]}
    assert len(pairs) > 1
    by_reason = acme.get("/v1/analyses:count", by="verdict_reason").json()
    assert by_reason["total"] == 3 < sum(group["count"] for group in by_reason["data"])
    assert count("tenant") == {(acme.tenant_id,): 3}
    assert list(count("day,model,policy").values()) == [3]
    assert count("error_reason") == {}
    for wrong in ("name", "verdict,verdict", "day,model,policy,tenant", ""):
        assert reason_of(acme.get("/v1/analyses:count", by=wrong)) == (422, "INVALID_REQUEST")


def test_a63_a_formula_is_no_formula_in_csv(module_database: Database, acme: Caller) -> None:
    with module_database.transaction(tenant_id=acme.tenant_id) as session:
        store_result(session, acme.tenant_id, '=cmd|"/c calc"!A1', make_score())
    answer = acme.get("/v1/analyses:export", format="csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert rows[0]["external_id"] == '\'=cmd|"/c calc"!A1'
    assert float(rows[0]["score_raw"]) == 0.9


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_exports_have_the_same_rows_in_each_form(acme: Caller, ids: Ids, form: str) -> None:
    content = acme.get("/v1/analyses:export", format=form, order_by="score desc").content
    rows = _read_rows(content, form)
    assert [row["id"] for row in rows] == [ids["high"], ids["middle"], ids["none"]]
    assert [row["score_raw"] for row in rows] == [0.98, 0.9, None]


def _read_rows(content: bytes, form: str) -> list[dict[str, object]]:
    if form == "parquet":
        import pyarrow.parquet

        return pyarrow.parquet.read_table(io.BytesIO(content)).to_pylist()
    if form == "jsonl":
        return [json.loads(line) for line in content.splitlines()]
    rows = list(csv.DictReader(io.StringIO(content.decode())))
    return [{**row, "score_raw": float(row["score_raw"]) if row["score_raw"] else None} for row in rows]


def test_a_wrong_filter_is_refused_before_a_file_begins(acme: Caller) -> None:
    assert reason_of(acme.get("/v1/analyses:export", filter="score >")) == (422, "INVALID_FILTER")


def test_a60_a_range_of_an_export_is_the_whole(acme: Caller, ids: Ids) -> None:
    ranged = acme.get("/v1/analyses:export", {"Range": "bytes=0-1,5-9" * 100}, format="jsonl")
    assert ranged.status_code == 200
    assert len(ranged.content.splitlines()) == 3


def test_an_export_to_the_store_has_a_link_and_an_owner(
    store: S3Objects, acme: Caller, other: Caller, ids: Ids
) -> None:
    asked = {"format": "jsonl", "filter": "verdict:*"}
    made = acme.post("/v1/exports", asked, {"Idempotency-Key": "export 1"})
    assert made.status_code == 201
    export = made.json()
    assert export["rows"] == 2
    assert export["uri"] == f"s3://videos/exports/{acme.tenant_id}/{export['id']}.jsonl"
    ref = VideoRef.parse_uri(export["uri"])
    assert len(store.read_range(ref, 0, export["size_bytes"]).splitlines()) == 2
    again = acme.get(f"/v1/exports/{export['id']}").json()
    assert (again["size_bytes"], again["format"]) == (export["size_bytes"], "jsonl")
    assert acme.get(f"/v1/exports/{export['id']}").headers["cache-control"] == "no-store"
    assert reason_of(other.get(f"/v1/exports/{export['id']}")) == (404, "NOT_FOUND")  # A06
    replayed = acme.post("/v1/exports", asked, {"Idempotency-Key": "export 1"})
    assert replayed.json()["id"] == export["id"]
    assert replayed.json()["href"] is None  # a link is a secret: it is not kept
    assert reason_of(acme.get("/v1/exports/..%2f..%2fx"))[0] == 404
    elsewhere = acme.post("/v1/exports", {"format": "csv", "uri": "s3://videos/x"})  # A09
    assert reason_of(elsewhere) == (422, "INVALID_REQUEST")


def test_files_are_limited_in_number(acme: Caller, ids: Ids) -> None:
    limits = acme.client.app.state.services.limits
    for counts, method, path in (
        (limits.streams, "GET", "/v1/analyses:export"),
        (limits.streams, "GET", "/v1/review-entries:export"),
        (limits.exports, "POST", "/v1/exports"),
    ):
        held = 0
        while counts.enter(acme.tenant_id):
            held += 1
        body = {"format": "csv"} if method == "POST" else None
        assert reason_of(acme.send(method, path, body)) == (429, "RATE_LIMITED"), path
        for _ in range(held):
            counts.leave(acme.tenant_id)
        assert acme.send(method, path, body).status_code in (200, 201), path
        assert counts.count(acme.tenant_id) == 0


def test_a_parquet_file_that_is_too_long_or_cannot_be_written_is_refused_before_it_begins(
    acme: Caller, ids: Ids, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.routes.exports.ROWS_MAX", 2)
    refused = acme.get("/v1/analyses:export", format="parquet")
    assert reason_of(refused) == (413, "REQUEST_TOO_LARGE")
    assert len(acme.get("/v1/analyses:export", format="jsonl").content.splitlines()) == 3

    def find_nothing(name: str) -> object:
        raise ImportError(name)

    monkeypatch.undo()
    monkeypatch.setattr("fakesieve.result_files.import_module", find_nothing)
    for answer in (
        acme.get("/v1/analyses:export", format="parquet"),
        acme.post("/v1/exports", {"format": "parquet"}),
    ):
        assert reason_of(answer) == (422, "INVALID_REQUEST")
        assert "fakesieve[parquet]" in answer.json()["hint"]


def test_between_the_pieces_of_a_file_nothing_is_held(
    postgres: PostgresServer, module_database_name: str, acme: Caller, ids: Ids
) -> None:
    services = acme.client.app.state.services
    lines = walk_lines(services, AnalysisQuery(acme.tenant_id, limit=1), acme.key_id)
    with opened(postgres, module_database_name, SUPERUSER) as watching:
        for expected in ("none", "middle", "high"):
            assert next(lines).external_id == expected
            with watching.transaction(tenant_id=None) as session:
                held = session.scalar(
                    text(
                        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'fakesieve api'"
                        " AND datname = current_database() AND state = 'idle in transaction'"
                    )
                )
            assert held == 0

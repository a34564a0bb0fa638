"""Fills the tables: rows of real jobs, copied by the server with other ids, times, tenants and scores.

Every table that names a job, a video or an analysis of the patterns is copied, so a table that is added to
the schema is filled too. Foreign keys are not checked while the rows are copied, as they hold by
construction; all other constraints and all indexes are at work, and rows come in the order of their time.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple

import psycopg
from psycopg import sql

from bench.database.facts import Fact

CHUNK = 20_000
OWNERS = (("job_id", "job"), ("analysis_id", "analysis"), ("video_id", "video"))
EVENT_DAYS = 7  # the reconciler drops events that are older
# What only some of the facts have, or have for some time.
ONLY = {
    "frame_score": "WHERE n.is_whole",
    "patch_map": "WHERE n.is_whole",
    "outbox": f"WHERE n.time > now() - interval '{EVENT_DAYS} days'",
}

_CLIPPED = "CASE WHEN {0} IS NULL THEN NULL ELSE least(1, greatest(0, {0} - k.raw + n.level)) END"
_VERDICT = (
    "CASE WHEN n.level IS NULL THEN NULL WHEN n.level < k.low THEN 'no_manipulation_found'"
    " WHEN n.level < k.high THEN 'inconclusive' ELSE 'likely_manipulated' END"
)
_LEAD = (
    "CASE WHEN n.level < k.low THEN 'LOW_TRACK_SCORES' WHEN n.level < k.high THEN 'SCORE_BETWEEN_THRESHOLDS'"
    " ELSE 'HIGH_TRACK_SCORE' END"
)
_REASONS = f"CASE WHEN n.level IS NULL THEN {{0}} ELSE ARRAY[{_LEAD}] || {{0}}[2:] END"
# What a copy has instead of the value of its pattern, by table and column. Ids and times are general rules.
CHANGES: Mapping[tuple[str, str], str] = {
    ("analysis", "score_raw"): "n.level",
    ("analysis", "score_calibrated"): "CASE WHEN t.score_calibrated IS NOT NULL THEN n.level END",
    ("analysis", "score_low"): "CASE WHEN t.score_low IS NOT NULL THEN greatest(0, n.level - 0.05) END",
    ("analysis", "score_high"): "CASE WHEN t.score_high IS NOT NULL THEN least(1, n.level + 0.05) END",
    ("face_track", "score"): _CLIPPED.format("t.score"),
    ("frame_score", "score"): _CLIPPED.format("t.score"),
    ("verdict", "value"): _VERDICT,
    ("verdict", "score_used"): "n.level",
    ("verdict", "reasons"): _REASONS.format("t.reasons"),
    ("standing", "verdict"): _VERDICT,
    ("standing", "score"): "n.level",
    ("standing", "verdict_reasons"): _REASONS.format("t.verdict_reasons"),
    ("standing", "score_raw"): "n.level",
    ("standing", "score_calibrated"): "CASE WHEN t.score_calibrated IS NOT NULL THEN n.level END",
    ("standing", "score_low"): "CASE WHEN t.score_low IS NOT NULL THEN greatest(0, n.level - 0.05) END",
    ("standing", "score_high"): "CASE WHEN t.score_high IS NOT NULL THEN least(1, n.level + 0.05) END",
    ("video", "content_sha256"): "n.sha256",
    ("shard", "evidence"): "CASE WHEN n.is_whole THEN t.evidence END",
    ("job", "source_key"): "'videos/' || n.base || '.mp4'",
    ("source", "key"): "'videos/' || n.base || '.mp4'",
    ("job", "batch_id"): "n.batch_id",
    ("job", "id"): "'job_' || n.base",
    ("video", "id"): "'vid_' || n.base",
    ("analysis", "id"): "'ana_' || n.base",
}
FOR_ALL: Mapping[str, str] = {
    "tenant_id": "n.tenant_id",
    "job_id": "CASE WHEN t.job_id IS NOT NULL THEN 'job_' || n.base END",
    "video_id": "CASE WHEN t.video_id IS NOT NULL THEN 'vid_' || n.base END",
    "analysis_id": "CASE WHEN t.analysis_id IS NOT NULL THEN 'ana_' || n.base END",
    "idempotency_key": "NULL",
}


def note_patterns(connection: psycopg.Connection, job_ids: Sequence[str], low: float, high: float) -> None:
    """Keep the rows of the patterns aside, in a schema of their own; a pattern's number is its place."""
    connection.execute("DROP SCHEMA IF EXISTS pattern CASCADE")
    connection.execute("CREATE SCHEMA pattern")
    connection.execute(
        "CREATE TABLE pattern.known (number int, job_id text, video_id text, analysis_id text,"
        " time timestamptz, raw float8, low float8, high float8)"
    )
    for number, job_id in enumerate(job_ids):
        connection.execute(
            "INSERT INTO pattern.known SELECT %s, j.id, j.video_id, j.analysis_id, j.create_time,"
            " coalesce(a.score_raw, 0), %s, %s FROM public.job j LEFT JOIN public.analysis a"
            " ON a.id = j.analysis_id WHERE j.id = %s",
            (number, low, high, job_id),
        )
    for table in find_tables(connection):
        connection.execute(_keep(table, list_columns(connection, table)))
    connection.execute(
        'CREATE UNLOGGED TABLE pattern.fact (number int, base text COLLATE "C", tenant_id text COLLATE "C",'
        ' time timestamptz, level float8, sha256 text, batch_id text COLLATE "C", is_whole bool)'
    )


def _keep(table: str, columns: Iterable[str]) -> sql.Composed:
    """Copy the rows of the patterns, each with its pattern and its place among the rows of that."""
    owner = key = next((column for column, _ in OWNERS if column in columns), "")
    if table in [noun for _, noun in OWNERS]:
        owner, key = "id", f"{table}_id"
    return sql.SQL(
        "CREATE TABLE pattern.{0} AS SELECT k.number AS pattern_number,"
        " row_number() OVER (PARTITION BY k.number ORDER BY t.ctid) - 1 AS pattern_row, t.*"
        " FROM public.{0} t JOIN pattern.known k ON k.{1} = t.{2}"
    ).format(sql.Identifier(table), sql.Identifier(key), sql.Identifier(owner))


def find_tables(connection: psycopg.Connection) -> list[str]:
    """Return the tables that hold a job, a video, an analysis, or what belongs to one of them."""
    rows = connection.execute(
        "SELECT DISTINCT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition"
        " AND (a.attname = ANY (%s) OR c.relname = ANY (%s)) ORDER BY 1",
        ([column for column, _ in OWNERS], [table for _, table in OWNERS]),
    )
    return [row[0] for row in rows]


def list_columns(connection: psycopg.Connection, table: str) -> dict[str, str]:
    """Return the columns that a row is written with, and their types."""
    rows = connection.execute(
        "SELECT attname, format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = %s::regclass"
        " AND attnum > 0 AND NOT attisdropped AND attgenerated = '' AND attidentity = '' ORDER BY attnum",
        (f"public.{table}",),
    )
    return dict(rows.fetchall())


def write_copy(table: str, columns: Mapping[str, str]) -> sql.Composed:
    """Return the statement that copies the patterns of one table for all facts of a chunk."""
    values = [sql.SQL(choose_value(table, name, kind)) for name, kind in columns.items()]
    return sql.SQL(
        "INSERT INTO public.{0} ({1}) SELECT {2} FROM pattern.fact n"
        " JOIN pattern.known k ON k.number = n.number"
        " JOIN pattern.{0} t ON t.pattern_number = n.number {3} ORDER BY n.time, t.pattern_row"
    ).format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.SQL(", ").join(values),
        sql.SQL(ONLY.get(table, "")),
    )


def choose_value(table: str, column: str, kind: str) -> str:
    """Return what a copy has in a column: the pattern's value, or what tells its fact apart."""
    if (table, column) in CHANGES:
        return CHANGES[table, column]
    if column in FOR_ALL:
        return FOR_ALL[column]
    if column == "id":
        return "left(t.id, 4) || left(n.base, 24) || lpad(t.pattern_row::text, 2, '0')"
    if kind == "timestamp with time zone":
        return f't."{column}" + (n.time - k.time)'
    return f't."{column}"'


class Filler:
    """Copies the patterns for facts, chunk after chunk, each chunk in one transaction."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection
        self._copies = [
            write_copy(table, list_columns(connection, table)) for table in find_tables(connection)
        ]

    def add(self, facts: Iterable[Fact]) -> Iterable[int]:
        """Write the rows of the facts and yield how many facts were written so far."""
        done = 0
        for chunk in _cut(facts):
            with self._connection.transaction():
                self._write(chunk)
            done += len(chunk)
            yield done

    def _write(self, chunk: Sequence[Fact]) -> None:
        connection = self._connection
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute("TRUNCATE pattern.fact")
        with connection.cursor().copy("COPY pattern.fact FROM STDIN") as copy:
            for fact in chunk:
                copy.write_row(astuple(fact))
        connection.execute(
            "INSERT INTO public.batch (id, tenant_id, name, lane, state, max_failure_rate, request_hash,"
            " create_time, end_time) SELECT DISTINCT ON (batch_id) batch_id, tenant_id, 'list ' || batch_id,"
            " 'bulk', 'succeeded_with_errors', 1, sha256, time, time + interval '1 hour' FROM pattern.fact"
            " WHERE batch_id IS NOT NULL ORDER BY batch_id, time ON CONFLICT DO NOTHING"
        )
        for statement in self._copies:
            connection.execute(statement)


def _cut(facts: Iterable[Fact]) -> Iterable[tuple[Fact, ...]]:
    rest = iter(facts)
    while chunk := tuple(itertools.islice(rest, CHUNK)):
        yield chunk

"""All rows of a new analysis in one statement, however many faces and frames it has.

A statement for each table, and an execution for each row, cost a worker and the server several times what
the rows themselves do. The rows travel as JSON, one text for each table, and the database reads them as
tables. Numbers arrive as they left: the shortest digits that tell a number apart are read back as it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import CTE, Select, Table, bindparam, column, func, select, true
from sqlalchemy.dialects.postgresql import JSON, insert
from sqlalchemy.orm import Session
from sqlalchemy.types import NullType

from engine.results import VideoScore
from fakesieve.ids import IdPrefix, new_id
from fakesieve.records.analysis_rows import (
    Row,
    build_frame_row,
    build_segment_row,
    build_track_row,
)
from fakesieve.records.analysis_tables import Analysis, FaceTrack, FrameScore, PatchMap, Segment, Verdict
from fakesieve.records.models import Model, ModelFacts
from fakesieve.records.standings import REPEATED, Standing
from fakesieve.records.table import ID_TYPE, Base


@dataclass(frozen=True)
class _Part:
    """A table whose rows hang on the analysis.

    ``left_out`` are columns that the database fills in, ``repeated`` those that are the analysis' own.
    """

    parameter: str
    entity: type[Base]
    left_out: Collection[str] = ()
    repeated: Sequence[str] = ()

    def build(self, made: CTE) -> CTE:
        """Return the insert of its rows, for the analysis if one was made."""
        table = _table_of(self.entity)
        given = {"tenant_id", "analysis_id", *self.left_out, *self.repeated}
        rows = _read_rows(self.parameter, table, given)
        repeated = [made.c[name] for name in self.repeated]
        source = select(made.c.tenant_id, made.c.id, *repeated, *rows.c).select_from(made.join(rows, true()))
        names = ["tenant_id", "analysis_id", *self.repeated, *(each.name for each in rows.c)]
        return insert(table).from_select(names, source).cte(f"new_{self.parameter}")


_PARTS = (
    _Part("tracks", FaceTrack),
    _Part("frames", FrameScore, {"analysis_time"}),
    _Part("segments", Segment),
    _Part("maps", PatchMap, {"kind"}),
    _Part("verdicts", Verdict, {"create_time"}),
    _Part("standings", Standing, {"create_time"}, REPEATED),
)


def _table_of(entity: type[Base]) -> Table:
    return cast("Table", entity.__table__)


def _read_rows(parameter: str, table: Table, left_out: Collection[str]) -> Any:
    """Return the rows of a JSON text as a table with the columns and types of another one."""
    # What refers to a table that is not known yet has no type yet: it is an id.
    types = {each.name: ID_TYPE if isinstance(each.type, NullType) else each.type for each in table.c}
    columns = [column(name, type_) for name, type_ in types.items() if name not in left_out]
    rows = func.json_to_recordset(bindparam(parameter, type_=JSON()))
    return rows.table_valued(*columns, name=f"{parameter}_row").render_derived(with_types=True)


def _build_insert() -> Select[str]:
    analysis = _table_of(Analysis)
    rows = _read_rows("analyses", analysis, {"create_time", "model_id"})
    model_id = select(Model.id).where(
        Model.name == bindparam("model_name"), Model.weights_sha256 == bindparam("weights_sha256")
    )
    model = model_id.subquery()
    source = select(*rows.c, model.c.id).select_from(model.join(rows, true()))
    names = [*(each.name for each in rows.c), "model_id"]
    made = (
        insert(analysis)
        .from_select(names, source)
        .on_conflict_do_nothing()
        .returning(analysis.c.id, analysis.c.tenant_id, *(analysis.c[name] for name in REPEATED))
        .cte("made")
    )
    return select(made.c.id).add_cte(*(part.build(made) for part in _PARTS))


_INSERT = _build_insert()


def insert_analysis(
    session: Session, facts: ModelFacts, analysis: Row, parts: Mapping[str, Sequence[Row]]
) -> str | None:
    """Write an analysis with what hangs on it, and return its id.

    ``analysis`` and the rows of ``parts``, which has an entry for each of ``_PARTS``, are columns by name
    without those that say whose they are. None when nothing was written: the video has an analysis by the
    same pipeline, or the model is not known yet.
    """
    made = {"analyses": [analysis | {"id": new_id(IdPrefix.ANALYSIS)}], **parts}
    values = made | {"model_name": facts.name, "weights_sha256": facts.weights_sha256}
    # By the connection: the session looks for objects of the mapper first, which takes as long as all else.
    return session.connection().scalar(_INSERT, values)


def build_parts(score: VideoScore, maps: Sequence[Row]) -> dict[str, list[Row]]:
    """Return the rows that a score fills below its analysis, by table."""
    return {
        "tracks": [build_track_row(track) | {"id": new_id(IdPrefix.TRACK)} for track in score.tracks],
        "frames": [build_frame_row(track.ordinal, frame) for track in score.tracks for frame in track.frames],
        "segments": [build_segment_row(n, segment) for n, segment in enumerate(score.segments)],
        "maps": [{name: _spell_bytes(value) for name, value in row.items()} for row in maps],
    }


def _spell_bytes(value: object) -> object:
    """Return bytes as the text that the database reads as bytes, and anything else as it is."""
    return f"\\x{value.hex()}" if isinstance(value, bytes) else value

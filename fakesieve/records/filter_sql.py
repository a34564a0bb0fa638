"""A checked filter as SQL. Names come from the allow-list, values are parameters; no text is put together.

A filter and its NOT part the rows in two: what is absent fits no comparison, and fits its negation.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, cast

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    and_,
    bindparam,
    false,
    func,
    literal,
    literal_column,
    not_,
    or_,
    select,
)
from sqlalchemy.sql.elements import SQLCoreOperations
from sqlalchemy.types import BigInteger, Double

from engine.results import FaceRegion, SegmentKind
from fakesieve.filters.check import AllOf, Checked, FieldTest, Filter, Negated, Some, Typed
from fakesieve.filters.fields import FIELDS, FieldKind
from fakesieve.filters.tree import Operator
from fakesieve.records.analysis_tables import Analysis, FaceTrack, FrameScore, Segment
from fakesieve.records.jobs import Job
from fakesieve.records.models import Model
from fakesieve.records.policies import PolicyVersion
from fakesieve.records.standings import Standing
from fakesieve.records.tags import VideoTag
from fakesieve.records.upload_names import write_file_name
from fakesieve.records.videos import Video
from fakesieve.records.words import is_spoken_of
from fakesieve.values.reviews import Disposition

Condition = ColumnElement[bool]
Expression = SQLCoreOperations[Any]
SqlText = str | BindParameter[str]


class Source(Enum):
    """Where a column comes from.

    All but the first and the last must be joined to ``standing`` by who runs the filter.
    """

    STANDING = auto()
    ANALYSIS = auto()
    VIDEO = auto()
    MODEL = auto()
    POLICY = auto()
    ELEMENT = auto()


@dataclass(frozen=True)
class FilterSql:
    """A condition over ``standing`` and what it needs beside it."""

    where: Condition | None
    needs: frozenset[Source]


def compile_filter(wanted: Filter, tenant_id: SqlText) -> FilterSql:
    """Return the SQL of a filter over the results of a tenant, given by its id or as a parameter."""
    if wanted.tree is None:
        return FilterSql(None, frozenset())
    compiler = _Compiler(tenant_id)
    return FilterSql(compiler.write(wanted.tree), frozenset(compiler.needs))


class _Compiler:
    """One pass over one tree, which gathers what must be joined."""

    def __init__(self, tenant_id: SqlText) -> None:
        self._tenant_id = tenant_id
        self.needs: set[Source] = set()

    def write(self, tree: Checked) -> Condition:
        if isinstance(tree, FieldTest):
            return self._write_test(tree)
        if isinstance(tree, Negated):
            return not_(func.coalesce(self.write(tree.inner), false()))
        if isinstance(tree, Some):
            return self._write_some(tree)
        parts = [self.write(part) for part in tree.parts]
        return and_(*parts) if isinstance(tree, AllOf) else or_(*parts)

    def _write_some(self, tree: Some) -> Condition:
        """Return the condition that one element fits, after what ``standing`` says of all of them together.

        Where that is the whole answer, no element is looked at.
        """
        parts = tree.inner.parts if isinstance(tree.inner, AllOf) else (tree.inner,)
        tests = [part for part in parts if isinstance(part, FieldTest)]
        known = [condition for test in tests for condition in _foretell(test)]
        if tree.inner in tests and known and tree.noun != "frames":
            return and_(*known)
        return and_(*known, _exists(*self._reach(tree.noun), self.write(tree.inner)))

    def _reach(self, noun: str) -> list[Condition]:
        """Return what makes a row an element of the analysis at hand."""
        table = _ELEMENTS[noun]
        joined: list[Condition] = [
            table.tenant_id == self._tenant_id,
            table.analysis_id == Standing.analysis_id,
        ]
        if table is FrameScore:  # the time tells the database in which partition to look
            joined.append(FrameScore.analysis_time == Standing.create_time)
        return joined

    def _write_test(self, test: FieldTest) -> Condition:
        if test.field.kind is FieldKind.TAGS:
            return self._write_tag(test)
        if test.field.name == "disposition":
            return self._write_disposition(test)
        source, column = COLUMNS[test.field.name]
        self.needs.add(source)
        if test.field.kind is FieldKind.LIST:
            return _test_list(column, test)
        return _test_column(column, test)

    def _write_tag(self, test: FieldTest) -> Condition:
        there = [
            VideoTag.tenant_id == self._tenant_id,
            VideoTag.name == test.tag,
            VideoTag.video_id == Standing.video_id,
        ]
        if test.value is None:
            found = _exists(*there)
            return found if test.operator is Operator.HAS else not_(found)
        value = _bind(test, VideoTag.value)
        fits = func.starts_with(VideoTag.value, value) if test.is_prefix else VideoTag.value == value
        found = _exists(*there, fits)
        return not_(found) if test.operator is Operator.NOT_EQUAL else found

    def _write_disposition(self, test: FieldTest) -> Condition:
        """Return the condition on what people say. ``NOT_EQUAL`` has those of which nobody says anything."""
        said = None if test.value is None else Disposition(str(test.value))
        found = is_spoken_of(self._tenant_id, said)
        is_without = test.operator is (Operator.EQUAL if said is None else Operator.NOT_EQUAL)
        # Not as a join that leaves rows out: of young tables the planner takes every analysis by every item.
        return not_(func.coalesce(found, false())) if is_without else found


def _exists(*conditions: Condition) -> Condition:
    return select(literal(1)).where(*conditions).correlate(Standing, Analysis).exists()


def _foretell(test: FieldTest) -> list[Condition]:
    """Return what ``standing`` must say for an element to pass a test; nothing where it says nothing of it.

    But for frames, which are dropped when they are old, the reverse holds too.
    """
    name, is_over = test.field.name, test.operator in (Operator.GREATER, Operator.GREATER_EQUAL)
    if name == "segments.kind" and (test.operator, test.value) == (Operator.EQUAL, SegmentKind.SUSPICIOUS):
        return [_IS_SUSPICIOUS]
    if name == "segments.regions" and test.value is not None:
        return [_IS_SUSPICIOUS, Standing.span_regions.contains([test.value])]
    if name == "frames.patch_area" and is_over:
        return [_compare(test, Standing.patch_area_max)]
    if name in _PEAKS and is_over:
        return [_compare(test, _PEAKS[name])]
    return []


def _test_list(column: Expression, test: FieldTest) -> Condition:
    if test.value is None:
        return func.cardinality(column) > 0
    return column.contains([test.value])


def _test_column(column: Expression, test: FieldTest) -> Condition:
    if test.value is None:
        return column.is_(None) if test.operator is Operator.EQUAL else column.is_not(None)
    if test.is_prefix:
        begins = func.starts_with(column, _bind(test, column))
        return begins if test.operator is Operator.EQUAL else not_(func.coalesce(begins, false()))
    if test.operator is Operator.NOT_EQUAL:
        return column.is_distinct_from(_bind(test, column))
    return _compare(test, column)


def _compare(test: FieldTest, column: Expression) -> Condition:
    return _COMPARE[test.operator](column, _bind(test, column))


def _bind(test: FieldTest, column: Expression) -> ColumnElement[Any]:
    """Return what a column is compared with, under a name where the value is given with each use."""
    # A number is compared in 64 bits: in those of a narrow column 40,000 would be no number at all.
    kind = BigInteger() if isinstance(test.value, int) else cast("ColumnElement[Any]", column).type
    if test.place is None:
        return literal(test.value, kind)
    return bindparam(_name_value(test.place), test.value, type_=kind)


def name_values(values: Sequence[Typed]) -> dict[str, Typed]:
    """Return the values of a filter's shape as the parameters of its SQL."""
    return {_name_value(place): value for place, value in enumerate(values)}


def _name_value(place: int) -> str:
    return f"wanted_{place}"


_COMPARE: Mapping[Operator, Callable[[Any, Any], Any]] = {
    Operator.EQUAL: operator.eq,
    Operator.LESS: operator.lt,
    Operator.LESS_EQUAL: operator.le,
    Operator.GREATER: operator.gt,
    Operator.GREATER_EQUAL: operator.ge,
}
_ELEMENTS: Mapping[str, Any] = {"tracks": FaceTrack, "frames": FrameScore, "segments": Segment, "jobs": Job}
# With a constant, as the index of these rows has it: a plan for any parameter could not use the index.
_IS_SUSPICIOUS = Standing.suspicious_count > literal_column("0")
_PEAKS: Mapping[str, Expression] = {
    f"tracks.regions.{region.value}": Standing.region_peaks[place]
    for place, region in enumerate(FaceRegion, 1)
}
_STANDING: Mapping[str, Expression] = {
    "id": Standing.analysis_id,
    "create_time": Standing.create_time,
    "outcome": Standing.outcome,
    "verdict": Standing.verdict,
    "score": Standing.score,
    "verdict_reasons": Standing.verdict_reasons,
    "video_id": Standing.video_id,
    "score.raw": Standing.score_raw,
    "score.calibrated": Standing.score_calibrated,
    "score.low": Standing.score_low,
    "score.high": Standing.score_high,
    "model_id": Standing.model_id,
    "fingerprint": Standing.pipeline_fingerprint,
    "engine": Standing.engine,
    "precision": Standing.precision,
    "coverage.ratio": Standing.coverage,
    "coverage.faces_scored": Standing.faces_scored,
    "coverage.scored_us": Standing.scored_us,
    "reasons": Standing.reasons,
    "warnings": Standing.warnings,
}
_ANALYSIS: Mapping[str, Expression] = {
    "coverage.frames_sampled": Analysis.frames_sampled,
    "coverage.frames_decoded": Analysis.frames_decoded,
    "coverage.frames_with_face": Analysis.frames_with_face,
    "coverage.faces_detected": Analysis.faces_detected,
}
_VIDEO: Mapping[str, Expression] = {
    "external_id": Video.external_id,
    "sha256": Video.content_sha256,
    "duration_us": Video.duration_us,
    "size_bytes": Video.size_bytes,
    "width": Video.width,
    "height": Video.height,
    "container": Video.container,
    "codec": Video.codec,
}
_OTHERS: Mapping[Source, Mapping[str, Expression]] = {
    Source.MODEL: {"model": Model.name},
    Source.POLICY: {"policy": PolicyVersion.name, "policy_version": PolicyVersion.version},
}
# Fields of elements that are spelt otherwise than their columns.
_RENAMED: Mapping[str, Expression] = {
    "segments.track": Segment.ordinal,
    "jobs.id": Job.id,
    "jobs.bucket": Job.source_bucket,
    "jobs.key": Job.source_key,
    # No index could have these names: row security lets none be used of what is computed by a pattern.
    "jobs.file": write_file_name(Job.tenant_id, Job.source_bucket, Job.source_key, Job),
    # A part of the face without suspicious patches is not in the object.
    **{
        name: FaceTrack.regions[name.rpartition(".")[2]].astext.cast(Double())
        for name in FIELDS
        if name.startswith("tracks.regions.")
    },
}


def _element_column(name: str) -> Expression:
    renamed = _RENAMED.get(name)
    if renamed is not None:
        return renamed
    noun, _, column = name.partition(".")
    return getattr(_ELEMENTS[noun], column)


COLUMNS: Mapping[str, tuple[Source, Expression]] = {
    **{name: (Source.STANDING, column) for name, column in _STANDING.items()},
    **{name: (Source.ANALYSIS, column) for name, column in _ANALYSIS.items()},
    **{name: (Source.VIDEO, column) for name, column in _VIDEO.items()},
    **{name: (source, column) for source, columns in _OTHERS.items() for name, column in columns.items()},
    **{
        field.name: (Source.ELEMENT, _element_column(field.name))
        for field in FIELDS.values()
        if field.noun is not None
    },
}
"""The column of every field of the allow-list but ``tags`` and ``disposition``, which are rows."""

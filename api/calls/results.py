"""Results: analyses by filter and one by one, their documents and maps, counts, and files of them."""

import importlib
from collections.abc import Iterable, Iterator
from functools import reduce
from typing import Any, BinaryIO, cast

from pydantic import BaseModel, JsonValue, RootModel

from api.calls.bodies import write_body
from api.calls.paths import fill_path
from api.calls.sender import Query, Sender
from api.schemas.analyses import (
    AnalysisOut,
    ArtifactOut,
    CountsOut,
    FrameOut,
    MapsOut,
    SegmentOut,
    TrackOut,
)
from api.schemas.exports import ExportOut, NewExportBody
from api.schemas.keys import WhoAmI
from fakesieve.errors import SetupRefused
from fakesieve.reasons import Reason
from fakesieve.scopes import Scope
from fakesieve.values.files import FileFormat

_BY = "verdict"
_Place = tuple[str, ...]
_WORD: _Place = ("disposition",)


class Document(RootModel[dict[str, JsonValue]]):
    """The document of a result, as ``fakesieve scan --json`` writes it, with the job in it."""


class Results:
    """What was found."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def get(self, analysis_id: str | None, view: str = "full") -> AnalysisOut:
        """Return an analysis with its faces and spans, or ``view="basic"`` without."""
        if analysis_id is None:
            raise ValueError("the job has no analysis: look at its state and error")
        return self._sender.get(fill_path("/v1/analyses/{}", analysis_id), AnalysisOut, {"view": view})

    def iter(
        self,
        filter: str | None = None,  # noqa: A002 - the name that the API gives it
        order_by: str | None = None,
        page_size: int | None = None,
    ) -> Iterator[AnalysisOut]:
        """Yield the analyses that a filter lets through, page after page, as they are asked for."""
        query: Query = {"filter": filter, "order_by": order_by, "page_size": page_size}
        return self._sender.pages("/v1/analyses", AnalysisOut, query)

    def count(
        self,
        by: str = _BY,
        filter: str | None = None,  # noqa: A002 - the name that the API gives it
    ) -> CountsOut:
        """Count analyses, as by ``day,verdict``."""
        return self._sender.get("/v1/analyses:count", CountsOut, {"by": by, "filter": filter})

    def document(self, name: str, *, with_patches: bool = False) -> dict[str, JsonValue]:
        """Return the document of a job that has ended, or of an analysis."""
        is_job = name.startswith("job_")
        path = fill_path("/v1/jobs/{}/document" if is_job else "/v1/analyses/{}/document", name)
        return self._sender.get(path, Document, {"patches": "true" if with_patches else None}).root

    def tracks(self, analysis_id: str) -> Iterator[TrackOut]:
        """Yield the faces of an analysis over time."""
        return self._sender.pages(fill_path("/v1/analyses/{}/tracks", analysis_id), TrackOut)

    def segments(self, analysis_id: str) -> Iterator[SegmentOut]:
        """Yield the spans of an analysis that stand out."""
        return self._sender.pages(fill_path("/v1/analyses/{}/segments", analysis_id), SegmentOut)

    def frames(self, analysis_id: str, track: int | None = None) -> Iterator[FrameOut]:
        """Yield the faces of an analysis in single frames, by track and time."""
        return self._sender.pages(
            fill_path("/v1/analyses/{}/frames", analysis_id), FrameOut, {"track": track}
        )

    def maps(self, analysis_id: str, track: int, at_us: int | None = None) -> MapsOut:
        """Return the patch maps of a face: all, or that of the scored frame nearest to a time."""
        path = fill_path("/v1/analyses/{}/tracks/{}/maps", analysis_id, track)
        return self._sender.get(path, MapsOut, {"at_us": at_us})

    def map_file(self, analysis_id: str, track: int, form: str, at_us: int | None = None) -> bytes:
        """Return patch maps of a face as ``npy`` or ``png``."""
        path = fill_path("/v1/analyses/{}/tracks/{}/maps", analysis_id, track)
        return self._sender.send("GET", path, query={"format": form, "at_us": at_us}).content

    def artifacts(self, analysis_id: str) -> Iterator[ArtifactOut]:
        """Yield what can be fetched beside an analysis; links are secrets and expire."""
        return self._sender.pages(fill_path("/v1/analyses/{}/artifacts", analysis_id), ArtifactOut)

    def write(
        self,
        output: BinaryIO,
        form: FileFormat = FileFormat.CSV,
        filter: str | None = None,  # noqa: A002 - the name that the API gives it
        order_by: str | None = None,
    ) -> int:
        """Write analyses to a file as they arrive; says how many bytes there were."""
        query: Query = {"format": form, "filter": filter, "order_by": order_by}
        with self._sender.open("/v1/analyses:export", query) as answer:
            return sum(output.write(part) for part in answer.iter_bytes())

    def export(self, new: NewExportBody) -> ExportOut:
        """Write analyses to a file in the object store; the answer has a link that expires."""
        return self._sender.post("/v1/exports", ExportOut, write_body(new))

    def get_export(self, export_id: str) -> ExportOut:
        """Return a file that was written to the object store, with a new link, until its ``purge_time``."""
        return self._sender.get(fill_path("/v1/exports/{}", export_id), ExportOut)

    def may_tell_words(self) -> bool:
        """Ask whether analyses are read with what people say of them: the key has ``review:read``."""
        return Scope.REVIEW_READ in self._sender.get("/v1/whoami", WhoAmI).scopes

    def to_pandas(
        self,
        filter: str | None = None,  # noqa: A002 - the name that the API gives it
        order_by: str | None = None,
    ) -> Any:
        """Return a pandas DataFrame with a row for each analysis; nested names are joined by dots.

        The columns are the same whatever is found, nothing too: those of a list, without the parts that only
        ``view="full"`` has. ``create_time`` is a time in UTC; ``tags`` and what else has several values is
        one column. ``disposition`` is the last column, but not of what was read with a key that may not
        read what people say. Where nothing is found, one more request asks for that.

        Raises SetupRefused where pandas is not installed.
        """
        # Lazy: pandas is no dependency, whoever wants frames has it.
        try:
            pandas = cast("Any", importlib.import_module("pandas"))
        except ModuleNotFoundError as fault:
            hint = "pip install pandas, or use results.iter"
            raise SetupRefused(Reason.INVALID_SETTINGS, "pandas is not installed", hint) from fault
        places, rows, is_told = [*_list_places(AnalysisOut), _WORD], list[list[object]](), True
        for each in self.iter(filter, order_by):
            rows.append(_read_row(each, places))
            is_told = is_told and each.tells_words
        if not rows:  # no line has told whether the key may read it
            is_told = self.may_tell_words()
        frame = pandas.DataFrame(rows, columns=[".".join(place) for place in places])
        # The column of an empty frame holds no time that tells what it is.
        frame["create_time"] = pandas.to_datetime(frame["create_time"], utc=True)
        if not is_told:  # a column of nothing would say that nobody has looked
            del frame["disposition"]
        return frame


def _list_places(shape: type[BaseModel]) -> Iterator[_Place]:
    """Yield where the values of an answer are that a list has too; the rest is null there by default."""
    for name, field in shape.model_fields.items():
        if field.default is None:
            continue
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from ((name, *place) for place in _list_places(inner))
        else:
            yield (name,)


def _read_row(found: AnalysisOut, places: Iterable[_Place]) -> list[object]:
    """Return the values at these places, as in JSON but for the time."""
    form = {"disposition": None} | found.model_dump(mode="json") | {"create_time": found.create_time}
    return [reduce(_read_part, place, cast("object", form)) for place in places]


def _read_part(whole: object, name: str) -> object:
    return cast("dict[str, object]", whole)[name]

"""Exports on the wire."""

from typing import Annotated, Literal

from pydantic import Field

from api.schemas.policies import FilterBody
from api.schemas.shape import Answer, Request, Time
from fakesieve.filters.order import LETTERS_MAX
from fakesieve.values.files import FileFormat


class NewExportBody(Request):
    """Which results to write to the object store, and how."""

    format: FileFormat
    filter: FilterBody = None
    order_by: Annotated[str | None, Field(max_length=LETTERS_MAX)] = None


class ExportOut(Answer):
    """A file of results in the fleet's bucket, and a link to it that was made now and expires."""

    object: Literal["export"] = "export"
    id: str
    format: FileFormat
    uri: str
    size_bytes: int
    rows: int
    purge_time: Annotated[Time, Field(description="When the file is removed.")]
    href: Annotated[str | None, Field(description="Null where objects lie in a folder and have no links.")]
    expire_time: Annotated[Time | None, Field(description="When the link stops working.")]

"""Forms of files of results, and where one stands."""

from enum import StrEnum


class FileFormat(StrEnum):
    """How results are written."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"

    @property
    def media_type(self) -> str:
        """The content type of such a file."""
        return _MEDIA_TYPES[self]


class ExportState(StrEnum):
    """Where a file in the object store stands. One that is revoked is about to be removed."""

    WRITING = "writing"
    READY = "ready"
    REVOKED = "revoked"


_MEDIA_TYPES = {
    FileFormat.CSV: "text/csv; charset=utf-8",
    FileFormat.JSONL: "application/jsonl",
    FileFormat.PARQUET: "application/vnd.apache.parquet",
}

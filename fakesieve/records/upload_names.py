"""How people call what they have uploaded: the key is ours and says nothing, the name is with the upload."""

from collections.abc import Iterable, Mapping

from sqlalchemy import ColumnElement, and_, case, func, literal_column, select
from sqlalchemy.orm import Mapped, Session
from sqlalchemy.types import Text

from fakesieve.ids import IdPrefix
from fakesieve.records.table import Id
from fakesieve.records.uploads import UPLOADS_PREFIX, Upload

_HEAD = f"{IdPrefix.UPLOAD}_"
Place = tuple[str, str]
"""A bucket and a key."""


def name_uploads(session: Session, places: Iterable[Place]) -> Mapping[Place, str]:
    """Return what those of the places that are uploads with a name are called by who uploaded them.

    Where no key can be an upload's, nothing is asked of the database. Once a video is erased its upload is
    gone, and the name with it.
    """
    keys = {key for _, key in places if _may_be_upload(key)}
    if not keys:
        return {}
    name = _write_name()
    wanted = select(Upload.bucket, Upload.key, name.label("name")).where(
        Upload.key.in_(keys), name.is_not(None)
    )
    return {(row.bucket, row.key): str(row.name) for row in session.execute(wanted)}


def call_place(place: Place, names: Mapping[Place, str]) -> str:
    """Return what a file is called: as :func:`name_uploads` says, else by the end of its key."""
    key = place[1]
    return names.get(place) or key.rpartition("/")[2] or key


def write_file_name(
    tenant_id: Mapped[Id], bucket: Mapped[str], key: Mapped[str], table: type
) -> ColumnElement[str]:
    """Return what a row's file is called as SQL: the name of its upload, else what stands behind the last /.

    The columns are those of ``table``. Only of rows whose key may be an upload's is the upload looked for, by
    its unique key.
    """
    file = func.substring(key, literal_column("'[^/]*$'"), type_=Text())
    name = (
        select(_write_name())
        .where(Upload.key == key, Upload.bucket == bucket, Upload.tenant_id == tenant_id)
        .correlate(table)
        .scalar_subquery()
    )
    # As constants: a plan is made once for all filters of a shape.
    is_upload = and_(
        func.starts_with(key, literal_column(f"'{UPLOADS_PREFIX}'")),
        func.starts_with(file, literal_column(f"'{_HEAD}'")),
    )
    return case((is_upload, func.coalesce(name, file)), else_=file)


def _write_name() -> ColumnElement[str | None]:
    """Return the name of an upload as SQL; one of spaces alone, of which nothing can be seen, is none."""
    empty = literal_column("''", type_=Text())
    return func.nullif(func.btrim(Upload.name, type_=Text()), empty, type_=Text())


def _may_be_upload(key: str) -> bool:
    return key.startswith(UPLOADS_PREFIX) and key.rpartition("/")[2].startswith(_HEAD)

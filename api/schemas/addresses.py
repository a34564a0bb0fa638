"""Addresses of objects on the wire."""

from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from fakesieve.objects import KEY_BYTES_MAX
from fakesieve.reasons import Reason

URI_LETTERS_MAX = KEY_BYTES_MAX + 300


def _check_scheme(uri: str) -> str:
    """Refuse what is no address of an object, as ``http://169.254.169.254/``: nothing else is fetched."""
    if not uri.startswith("s3://"):
        raise PydanticCustomError(
            Reason.URL_NOT_ALLOWED.value, "not the address of an object; it looks like s3://bucket/clip.mp4"
        )
    return uri


Uri = Annotated[
    str,
    AfterValidator(_check_scheme),
    Field(
        min_length=6,
        max_length=URI_LETTERS_MAX,
        description="An object, as s3://bucket/key; the key stands without escapes.",
        examples=["s3://videos/clips/one.mp4"],
    ),
]

"""Choices and limits of videos and their labels."""

from enum import StrEnum

TAGS_MAX = 50
TAG_NAME_LENGTH_MAX, TAG_VALUE_LENGTH_MAX = 64, 256


class SourceKind(StrEnum):
    """How a video came to be known."""

    API = "api"
    UPLOAD = "upload"
    MANIFEST = "manifest"
    S3_EVENT = "s3_event"
    S3_SWEEP = "s3_sweep"

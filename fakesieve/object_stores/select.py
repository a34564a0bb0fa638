"""Which object store the settings mean."""

from dataclasses import replace

from fakesieve.object_stores.folder import FolderObjects
from fakesieve.object_stores.retries import RetryRule
from fakesieve.object_stores.s3 import S3Objects
from fakesieve.object_stores.s3_client import S3Options
from fakesieve.objects import ObjectStore
from fakesieve.settings import Settings

# Where a person waits for the answer: an object that is not there is told at once.
PROMPT = RetryRule(tries=3, within_s=15.0, first_pause_s=0.5, missing_pauses_s=())


def open_objects(settings: Settings, *, retry: RetryRule | None = None) -> ObjectStore:
    """Return the folder store where ``objects_dir`` is set and S3 otherwise. Nothing is connected to yet."""
    if settings.objects_dir is not None:
        return FolderObjects(settings.objects_dir)
    return S3Objects(read_options(settings), retry=retry)


def open_links(settings: Settings) -> S3Objects | None:
    """Return what makes links for people outside, at the address by which they reach the store.

    None where objects lie in a folder, to which there are no links.
    """
    if settings.objects_dir is not None:
        return None
    options = read_options(settings)
    return S3Objects(replace(options, endpoint=settings.s3_public_endpoint or options.endpoint))


def read_options(settings: Settings) -> S3Options:
    """Return the part of the settings that is about S3."""
    secret = settings.s3_secret_key
    return S3Options(
        endpoint=settings.s3_endpoint,
        access_key=settings.s3_access_key,
        secret_key=secret.get_secret_value() if secret else None,
        region=settings.s3_region,
    )

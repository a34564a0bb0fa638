"""What a failed request to S3 means for the work: whose fault it is, and what may help.

This is the only module that knows the vendor's error codes.
"""

import errno
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import urllib3.exceptions
from botocore import exceptions as vendor

from fakesieve.errors import FleetError, SetupRefused, SourceRefused, Unavailable
from fakesieve.reasons import Reason


class Remedy(Enum):
    """What may help against a fault."""

    RETRY_STORE = "the store or the way to it failed: try again, and count it as an outage"
    RETRY_DATA = "the store answered, but the bytes did not arrive whole: try again"
    WAIT_FOR_OBJECT = "the object is not there: some stores show new ones late"
    NONE = "the next answer would be the same"


@dataclass(frozen=True)
class StoreFault:
    """A failed request, told as the error to raise when nothing helps."""

    error: FleetError
    remedy: Remedy


class BodyBroken(Exception):
    """The answer began well, but its body was cut, slow, or not what the store had announced."""

    def __init__(self, seen: str, *, is_altered: bool = False) -> None:
        super().__init__(seen)
        self.seen = seen
        self.is_altered = is_altered


HTTP_DENIALS = frozenset({401, 403})
HTTP_REFUSALS = range(400, 500)
HTTP_RANGE_NOT_SATISFIABLE = 416


class UnclearRefusal(Unavailable):
    """The store refused a request in words that nobody knows: for the object's sake, or for ours."""

    @property
    def of_object(self) -> SourceRefused:
        """The error where it was for the object's sake."""
        return SourceRefused(Reason.SOURCE_NOT_FOUND, self.seen, self.hint)


VENDOR_ERRORS = (vendor.BotoCoreError, vendor.ClientError, urllib3.exceptions.HTTPError, BodyBroken)


@dataclass(frozen=True)
class _Meaning:
    """What answers with one of these codes or HTTP statuses mean."""

    codes: frozenset[str]
    statuses: frozenset[int]
    error: type[SourceRefused | Unavailable]
    reason: Reason
    remedy: Remedy = Remedy.NONE
    hint: str | None = None


# Read from above; the first row that knows the code or the status counts.
_MEANINGS = (
    _Meaning(
        frozenset({"SlowDown", "InternalError", "RequestTimeout", "RequestTimeTooSlow", "Throttling"})
        | frozenset({"ThrottlingException", "ServiceUnavailable", "OperationAborted", "BadDigest"}),
        frozenset({408, 429, 500, 502, 503, 504}),
        Unavailable,
        Reason.OBJECT_STORE_UNAVAILABLE,
        Remedy.RETRY_STORE,
    ),
    _Meaning(frozenset({"InvalidObjectState"}), frozenset(), SourceRefused, Reason.SOURCE_ARCHIVED),
    _Meaning(
        frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"})
        | frozenset({"TokenRefreshRequired", "RequestTimeTooSkewed"}),
        frozenset(),
        Unavailable,
        Reason.OBJECT_STORE_UNAVAILABLE,
        hint="check FAKESIEVE_S3_ACCESS_KEY, FAKESIEVE_S3_SECRET_KEY and the clock of this machine",
    ),
    _Meaning(
        frozenset(
            {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
        ),
        frozenset({301, 307}),
        Unavailable,
        Reason.OBJECT_STORE_UNAVAILABLE,
        hint="the bucket lies in another region: set FAKESIEVE_S3_REGION and FAKESIEVE_S3_ENDPOINT to it",
    ),
    _Meaning(frozenset({"PreconditionFailed"}), frozenset({412}), SourceRefused, Reason.SOURCE_CHANGED),
    _Meaning(frozenset({"NoSuchBucket"}), frozenset(), SourceRefused, Reason.SOURCE_NOT_FOUND),
    _Meaning(
        frozenset({"NoSuchKey", "NoSuchVersion"}),
        frozenset({404}),
        SourceRefused,
        Reason.SOURCE_NOT_FOUND,
        Remedy.WAIT_FOR_OBJECT,
    ),
    _Meaning(
        frozenset({"AccessDenied", "AllAccessDisabled"}),
        HTTP_DENIALS,
        SourceRefused,
        Reason.SOURCE_ACCESS_DENIED,
    ),
)


def explain_fault(fault: Exception, place: str) -> StoreFault:
    """Say what a vendor's error about ``place`` means. What is unknown is the machine's fault."""
    if isinstance(fault, vendor.ClientError):
        return _explain_answer(fault, place)
    if isinstance(fault, BodyBroken):
        return _explain_body(fault, place)
    if isinstance(fault, vendor.FlexibleChecksumError):
        return _explain_body(BodyBroken(str(fault), is_altered=True), place)
    if isinstance(fault, vendor.ParamValidationError):
        return StoreFault(SourceRefused(Reason.SOURCE_NOT_FOUND, f"{place}: {_say(fault)}"), Remedy.NONE)
    if isinstance(fault, vendor.NoCredentialsError | vendor.PartialCredentialsError):
        hint = "set FAKESIEVE_S3_ACCESS_KEY and FAKESIEVE_S3_SECRET_KEY, or give the machine a role"
        return StoreFault(_unavailable(place, "no key for the object store", hint), Remedy.NONE)
    if type(fault) is vendor.HTTPClientError:
        # Nothing was sent: the request itself was at fault. Counted as an outage, one caller's odd requests
        # would close the store for all. Broken connections are subclasses.
        return StoreFault(_unavailable(place, _say(fault)), Remedy.NONE)
    return StoreFault(_unavailable(place, _say(fault)), Remedy.RETRY_STORE)


def is_unexplained_denial(fault: vendor.ClientError) -> bool:
    """Whether the store denied a request without saying why: be it the object, the key or the clock."""
    code, status = _read_answer(fault)
    return status in HTTP_DENIALS and code in ("", str(status))


def explain_settings(fault: Exception, endpoint: str | None, region: str) -> SetupRefused:
    """Say what keeps a client from being made: settings that no request could be sent by."""
    place = f"the object store at {endpoint or 'its usual address'} in the region {region!r}"
    hint = (
        "check FAKESIEVE_S3_ENDPOINT, such as https://HOST:PORT, and FAKESIEVE_S3_REGION, such as eu-west-1"
    )
    return SetupRefused(Reason.INVALID_SETTINGS, f"{place}: {_say(fault)}", hint)


def explain_disk(fault: OSError, place: str) -> FleetError:
    """Say what a failed write of ``place`` to the local disk means."""
    if fault.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return Unavailable(Reason.NO_SPACE, f"{place}: the disk is full ({fault.strerror})")
    hint = "check that the scratch folder exists and can be written, see FAKESIEVE_SCRATCH_DIR"
    return Unavailable(Reason.NO_SPACE, f"{place}: cannot write: {fault.strerror}", hint)


def _explain_answer(fault: vendor.ClientError, place: str) -> StoreFault:
    """Say what an answer with an error code means."""
    code, status = _read_answer(fault)
    said = f"{status}" if code in ("", str(status)) else f"{status} {code}"  # to a HEAD it says no code
    seen = f"{place}: the store answered {said}"
    for meaning in _MEANINGS:
        if code in meaning.codes or status in meaning.statuses:
            return StoreFault(meaning.error(meaning.reason, seen, meaning.hint), meaning.remedy)
    hint = f"the store said: {str(fault.response.get('Error', {}).get('Message', ''))[:200]!r}"
    # A range that cannot be is ours: a download that broke off behind its last byte and was taken up there.
    is_unclear = status in HTTP_REFUSALS and status != HTTP_RANGE_NOT_SATISFIABLE
    kind = UnclearRefusal if is_unclear else Unavailable
    return StoreFault(kind(Reason.OBJECT_STORE_UNAVAILABLE, seen, hint), Remedy.NONE)


def _read_answer(fault: vendor.ClientError) -> tuple[str, int]:
    """Return the code and the HTTP status of an answer; without a body the code is the status or empty."""
    error: Mapping[str, object] = fault.response.get("Error", {})
    status = fault.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return str(error.get("Code", "")), status


def _explain_body(fault: BodyBroken, place: str) -> StoreFault:
    """Say what a broken body means: altered bytes are the object's fault, missing ones the store's."""
    if fault.is_altered:
        hint = "the stored object and its checksum disagree: upload it again"
        return StoreFault(
            SourceRefused(Reason.CORRUPT, f"{place}: {fault.seen}", hint),
            Remedy.RETRY_DATA,
        )
    return StoreFault(_unavailable(place, fault.seen), Remedy.RETRY_DATA)


def _unavailable(place: str, seen: str, hint: str | None = None) -> Unavailable:
    return Unavailable(Reason.OBJECT_STORE_UNAVAILABLE, f"{place}: {seen}", hint)


def _say(fault: Exception) -> str:
    """Return the vendor's words on one line, without the signature that a URL in them may carry."""
    words = " ".join(str(fault).split())
    cut = words.find("?X-Amz-")
    return f"{type(fault).__name__}: {words if cut < 0 else words[:cut] + '?...'}"

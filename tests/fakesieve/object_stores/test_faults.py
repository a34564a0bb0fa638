"""What each answer of S3 means: whose fault it is, and whether another try may help."""

import errno

import pytest
import urllib3.exceptions
from botocore import exceptions as vendor

from fakesieve.errors import SourceRefused, Unavailable
from fakesieve.object_stores.faults import (
    BodyBroken,
    Remedy,
    UnclearRefusal,
    explain_disk,
    explain_fault,
    is_unexplained_denial,
)
from fakesieve.reasons import Reason

PLACE = "s3://b/k"


def answer(status: int, code: str, message: str = "") -> vendor.ClientError:
    parts = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return vendor.ClientError(parts, "GetObject")  # type: ignore[arg-type] - only what is read


@pytest.mark.parametrize(
    ("status", "code", "reason", "remedy"),
    [
        (503, "SlowDown", Reason.OBJECT_STORE_UNAVAILABLE, Remedy.RETRY_STORE),
        (500, "InternalError", Reason.OBJECT_STORE_UNAVAILABLE, Remedy.RETRY_STORE),
        (502, "", Reason.OBJECT_STORE_UNAVAILABLE, Remedy.RETRY_STORE),
        (400, "RequestTimeout", Reason.OBJECT_STORE_UNAVAILABLE, Remedy.RETRY_STORE),
        (400, "BadDigest", Reason.OBJECT_STORE_UNAVAILABLE, Remedy.RETRY_STORE),
        (404, "NoSuchKey", Reason.SOURCE_NOT_FOUND, Remedy.WAIT_FOR_OBJECT),
        (404, "404", Reason.SOURCE_NOT_FOUND, Remedy.WAIT_FOR_OBJECT),
        (404, "NoSuchVersion", Reason.SOURCE_NOT_FOUND, Remedy.WAIT_FOR_OBJECT),
        (404, "NoSuchBucket", Reason.SOURCE_NOT_FOUND, Remedy.NONE),
        (412, "PreconditionFailed", Reason.SOURCE_CHANGED, Remedy.NONE),
        (403, "InvalidObjectState", Reason.SOURCE_ARCHIVED, Remedy.NONE),
        (403, "AccessDenied", Reason.SOURCE_ACCESS_DENIED, Remedy.NONE),
        (403, "403", Reason.SOURCE_ACCESS_DENIED, Remedy.NONE),
        (403, "SignatureDoesNotMatch", Reason.OBJECT_STORE_UNAVAILABLE, Remedy.NONE),
        (403, "InvalidAccessKeyId", Reason.OBJECT_STORE_UNAVAILABLE, Remedy.NONE),
        (403, "RequestTimeTooSkewed", Reason.OBJECT_STORE_UNAVAILABLE, Remedy.NONE),
        (400, "ExpiredToken", Reason.OBJECT_STORE_UNAVAILABLE, Remedy.NONE),
        (301, "PermanentRedirect", Reason.OBJECT_STORE_UNAVAILABLE, Remedy.NONE),
        (400, "SomethingNew", Reason.OBJECT_STORE_UNAVAILABLE, Remedy.NONE),
    ],
)
def test_answers(status: int, code: str, reason: Reason, remedy: Remedy) -> None:
    fault = explain_fault(answer(status, code), PLACE)
    assert (fault.error.reason, fault.remedy) == (reason, remedy)
    assert PLACE in fault.error.seen
    assert fault.error.hint
    assert isinstance(fault.error, Unavailable if reason.is_retryable else SourceRefused)


@pytest.mark.parametrize(("code", "said"), [("404", "404"), ("", "404"), ("NoSuchKey", "404 NoSuchKey")])
def test_an_answer_without_a_code_says_its_status_once(code: str, said: str) -> None:
    assert explain_fault(answer(404, code), PLACE).error.seen == f"{PLACE}: the store answered {said}"


@pytest.mark.parametrize(
    ("status", "code", "is_unexplained"),
    [
        (403, "403", True),
        (401, "", True),
        (403, "AccessDenied", False),
        (403, "SignatureDoesNotMatch", False),
        (404, "404", False),
        (400, "400", False),
    ],
)
def test_a_denial_without_a_code_says_not_whose_fault_it_is(
    status: int, code: str, is_unexplained: bool
) -> None:
    assert is_unexplained_denial(answer(status, code)) is is_unexplained


def test_a_refused_key_is_not_blamed_on_the_object() -> None:
    hint = explain_fault(answer(403, "SignatureDoesNotMatch"), PLACE).error.hint
    assert "FAKESIEVE_S3_SECRET_KEY" in hint
    assert "clock" in hint


@pytest.mark.parametrize(("status", "is_unclear"), [(400, True), (451, True), (416, False), (520, False)])
def test_only_refusals_that_nobody_knows_may_be_of_the_object(status: int, is_unclear: bool) -> None:
    error = explain_fault(answer(status, "Odd", "no such thing"), PLACE).error
    assert isinstance(error, UnclearRefusal) is is_unclear
    if isinstance(error, UnclearRefusal):
        assert (error.of_object.reason, error.of_object.seen) == (Reason.SOURCE_NOT_FOUND, error.seen)


def test_what_is_unknown_is_told_in_the_stores_words() -> None:
    assert "no such thing" in explain_fault(answer(400, "Odd", "no such thing"), PLACE).error.hint


@pytest.mark.parametrize(
    "fault",
    [
        vendor.EndpointConnectionError(endpoint_url="http://x"),
        vendor.ConnectTimeoutError(endpoint_url="http://x"),
        vendor.ReadTimeoutError(endpoint_url="http://x"),
        vendor.ConnectionClosedError(endpoint_url="http://x"),
        vendor.ResponseStreamingError(error="cut"),
        vendor.IncompleteReadError(actual_bytes=1, expected_bytes=2),
        urllib3.exceptions.ProtocolError("cut"),
    ],
)
def test_a_broken_connection_is_the_stores_and_tried_again(fault: Exception) -> None:
    found = explain_fault(fault, PLACE)
    assert (found.error.reason, found.remedy) == (Reason.OBJECT_STORE_UNAVAILABLE, Remedy.RETRY_STORE)


def test_a_request_that_could_not_be_sent_is_no_outage_of_the_store() -> None:
    told = explain_fault(vendor.HTTPClientError(error=ValueError("Invalid header value")), PLACE)
    assert isinstance(told.error, Unavailable)
    assert told.remedy is Remedy.NONE


def test_without_a_key_the_settings_are_named() -> None:
    found = explain_fault(vendor.NoCredentialsError(), PLACE)
    assert found.remedy is Remedy.NONE
    assert "FAKESIEVE_S3_ACCESS_KEY" in found.error.hint


def test_a_name_that_no_bucket_has_is_no_source() -> None:
    found = explain_fault(vendor.ParamValidationError(report="Invalid bucket name"), PLACE)
    assert (found.error.reason, found.remedy) == (Reason.SOURCE_NOT_FOUND, Remedy.NONE)


def test_bytes_that_stay_altered_are_the_objects_fault_and_missing_ones_the_stores() -> None:
    altered = explain_fault(BodyBroken("hash", is_altered=True), PLACE)
    assert (altered.error.reason, altered.remedy) == (Reason.CORRUPT, Remedy.RETRY_DATA)
    cut = explain_fault(BodyBroken("cut"), PLACE)
    assert (cut.error.reason, cut.remedy) == (Reason.OBJECT_STORE_UNAVAILABLE, Remedy.RETRY_DATA)
    checked = explain_fault(vendor.FlexibleChecksumError(error_msg="crc32"), PLACE)
    assert checked.error.reason is Reason.CORRUPT


def test_a_signature_does_not_get_into_the_error() -> None:
    fault = vendor.EndpointConnectionError(endpoint_url="http://x/k?X-Amz-Signature=secret&X-Amz-Date=1")
    assert "secret" not in str(explain_fault(fault, PLACE).error)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS])
def test_errors_of_the_disk(number: int) -> None:
    fault = explain_disk(OSError(number, "made up"), "/scratch/x")
    assert fault.reason is Reason.NO_SPACE
    assert "/scratch/x" in fault.seen

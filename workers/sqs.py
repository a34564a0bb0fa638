"""An SQS queue of bucket events."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import boto3.session
from botocore.config import Config

from fakesieve.errors import Unavailable
from fakesieve.object_stores.faults import VENDOR_ERRORS
from fakesieve.reasons import Reason
from workers.ingest import Message

if TYPE_CHECKING:
    from mypy_boto3_sqs.type_defs import DeleteMessageBatchRequestEntryTypeDef

MESSAGES_AT_ONCE = 10  # what SQS gives at most


@dataclass(frozen=True)
class QueueOptions:
    """Which queue, and how long a message taken by a consumer that died stays away, in seconds.

    Without keys boto3 looks for them where it always does; without an endpoint it is Amazon's.
    """

    url: str
    region: str = "us-east-1"
    endpoint: str | None = None
    access_key: str | None = None
    secret_key: str | None = None
    hidden_s: int = 120
    wait_s: int = 5

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(f"a queue is named by its URL, is {self.url!r}")
        if not 0 <= self.wait_s <= 20 or not 1 <= self.hidden_s <= 43_200:
            raise ValueError("SQS waits for 0 to 20 seconds and hides messages for 1 to 43200")

    def __repr__(self) -> str:
        return f"QueueOptions(url={self.url!r}, region={self.region!r})"


class SqsQueue:
    """The queue as :class:`workers.ingest.EventQueue`. Raises ``Unavailable`` where it does not answer."""

    def __init__(self, options: QueueOptions) -> None:
        self._options = options
        self._client = boto3.session.Session().client(
            "sqs",
            region_name=options.region,
            endpoint_url=options.endpoint,
            aws_access_key_id=options.access_key,
            aws_secret_access_key=options.secret_key,
            config=Config(
                connect_timeout=5.0,
                read_timeout=options.wait_s + 10.0,
                retries={"total_max_attempts": 1, "mode": "standard"},
            ),
        )

    def receive(self) -> Sequence[Message]:
        try:
            answer = self._client.receive_message(
                QueueUrl=self._options.url,
                MaxNumberOfMessages=MESSAGES_AT_ONCE,
                WaitTimeSeconds=self._options.wait_s,
                VisibilityTimeout=self._options.hidden_s,
            )
        except VENDOR_ERRORS as fault:
            raise self._explain(fault) from fault
        return [
            Message(found.get("Body", ""), found.get("ReceiptHandle", ""))
            for found in answer.get("Messages", [])
        ]

    def remove(self, messages: Sequence[Message]) -> None:
        entries: list[DeleteMessageBatchRequestEntryTypeDef] = [
            {"Id": str(number), "ReceiptHandle": message.receipt} for number, message in enumerate(messages)
        ]
        try:
            # One that could not be removed comes again, which does no harm.
            self._client.delete_message_batch(QueueUrl=self._options.url, Entries=entries)
        except VENDOR_ERRORS as fault:
            raise self._explain(fault) from fault

    def _explain(self, fault: Exception) -> Unavailable:
        hint = "check that the queue is there and that the key of this machine may receive and delete"
        seen = f"the queue {self._options.url}: {type(fault).__name__}: {fault}"
        return Unavailable(Reason.BROKER_UNAVAILABLE, seen, hint)

"""Reviews: queues, the items that people work through, what they said, and what callers report."""

from collections.abc import Iterator
from datetime import datetime
from typing import BinaryIO

from api.calls.bodies import write_body
from api.calls.paths import fill_path
from api.calls.sender import Sender
from api.schemas.reviews import (
    AppealBody,
    AuditCheckOut,
    AuditOut,
    CalibrationOut,
    ClaimOut,
    DecisionBody,
    EntryOut,
    ExportFormat,
    FeedbackBody,
    FeedbackOut,
    NewCalibrationBody,
    NewQueueBody,
    QueueOut,
    RevealBody,
    ReviewOut,
    SecondOpinionBody,
    SkipBody,
)
from api.schemas.reviews_known import AccuracyListOut, KnownOut, NewKnownBody
from fakesieve.values.reviews import Disposition, ReviewState


class Reviews:
    """Looks at analyses, and what was said of them."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def queues(self) -> Iterator[QueueOut]:
        """Yield the queues, oldest first."""
        return self._sender.pages("/v1/review-queues", QueueOut)

    def queue(self, queue_id: str) -> QueueOut:
        """Return one queue with what waits in it."""
        return self._sender.get(fill_path("/v1/review-queues/{}", queue_id), QueueOut)

    def create_queue(self, new: NewQueueBody) -> QueueOut:
        """Make a queue."""
        return self._sender.post("/v1/review-queues", QueueOut, write_body(new))

    def open_queue(self, queue_id: str) -> QueueOut:
        """Give out items of a queue again."""
        return self._sender.post(fill_path("/v1/review-queues/{}:open", queue_id), QueueOut)

    def close_queue(self, queue_id: str) -> QueueOut:
        """Give out nothing more from a queue."""
        return self._sender.post(fill_path("/v1/review-queues/{}:close", queue_id), QueueOut)

    def claim_next(self, queue_id: str) -> ReviewOut | None:
        """Claim the next item of a queue; None when it has nothing."""
        return self._sender.post(fill_path("/v1/review-queues/{}:claim", queue_id), ClaimOut).review

    def iter(
        self,
        queue_id: str | None = None,
        state: ReviewState | None = None,
        analysis_id: str | None = None,
    ) -> Iterator[ReviewOut]:
        """Yield items, newest first."""
        query = {"queue_id": queue_id, "state": state, "analysis_id": analysis_id}
        return self._sender.pages("/v1/reviews", ReviewOut, query)

    def get(self, review_id: str) -> ReviewOut:
        """Return an item."""
        return self._sender.get(fill_path("/v1/reviews/{}", review_id), ReviewOut)

    def claim(self, review_id: str) -> ReviewOut:
        """Claim this item, or lengthen the lease of one that is held already."""
        return self._act(review_id, "claim")

    def release(self, review_id: str) -> ReviewOut:
        """Give an item back."""
        return self._act(review_id, "release")

    def undo(self, review_id: str) -> ReviewOut:
        """Take one's own decision back, within ten seconds."""
        return self._act(review_id, "undo")

    def reopen(self, review_id: str) -> ReviewOut:
        """Offer an item again that too many people have passed over."""
        return self._act(review_id, "reopen")

    def reveal(self, review_id: str, disposition: Disposition) -> ReviewOut:
        """Commit to a first word about a blind item, and see its score."""
        return self._act(review_id, "reveal", write_body(RevealBody(disposition=disposition)))

    def decide(self, review_id: str, decision: DecisionBody) -> ReviewOut:
        """Decide an item that is held."""
        return self._act(review_id, "decide", write_body(decision))

    def skip(self, review_id: str, why: SkipBody) -> ReviewOut:
        """Pass over an item."""
        return self._act(review_id, "skip", write_body(why))

    def second_opinion(self, review_id: str, *, is_blind: bool = True) -> ReviewOut:
        """Have somebody else look at a decided item; the answer is the new one."""
        return self._act(review_id, "second_opinion", write_body(SecondOpinionBody(is_blind=is_blind)))

    def appeal(self, review_id: str, statement: str) -> ReviewOut:
        """Object to a decision; somebody who did not make it looks again."""
        return self._act(review_id, "appeal", write_body(AppealBody(statement=statement)))

    def _act(self, review_id: str, verb: str, body: object = None) -> ReviewOut:
        return self._sender.post(fill_path("/v1/reviews/{}:{}", review_id, verb), ReviewOut, body)

    def entries(self, analysis_id: str | None = None, review_id: str | None = None) -> Iterator[EntryOut]:
        """Yield what was said, newest first: decisions, skips, what was taken back, and feedback."""
        query = {"analysis_id": analysis_id, "review_id": review_id}
        return self._sender.pages("/v1/review-entries", EntryOut, query)

    def write_entries(self, output: BinaryIO, form: ExportFormat = ExportFormat.CSV) -> int:
        """Write all that was said to a file as it arrives, newest first; says how many bytes there were."""
        with self._sender.open("/v1/review-entries:export", {"format": form}) as answer:
            return sum(output.write(part) for part in answer.iter_bytes())

    def known(self) -> Iterator[KnownOut]:
        """Yield the analyses whose truth is known, newest first."""
        return self._sender.pages("/v1/known-analyses", KnownOut)

    def get_known(self, analysis_id: str) -> KnownOut:
        """Return what is known of an analysis."""
        return self._sender.get(fill_path("/v1/known-analyses/{}", analysis_id), KnownOut)

    def declare_known(self, known: NewKnownBody) -> KnownOut:
        """Declare that the truth of an analysis is known."""
        return self._sender.post("/v1/known-analyses", KnownOut, write_body(known))

    def take_back_known(self, analysis_id: str) -> None:
        """Forget what was known of an analysis."""
        self._sender.delete(fill_path("/v1/known-analyses/{}", analysis_id))

    def accuracy(self) -> AccuracyListOut:
        """Return how well each reviewer decides on known items."""
        return self._sender.get("/v1/known-analyses:measure", AccuracyListOut)

    def report(self, feedback: FeedbackBody) -> FeedbackOut:
        """Say what a result was worth. It moves no score."""
        return self._sender.post("/v1/feedback", FeedbackOut, write_body(feedback))

    def get_feedback(self, feedback_id: str) -> FeedbackOut:
        """Return what this key has said of a result."""
        return self._sender.get(fill_path("/v1/feedback/{}", feedback_id), FeedbackOut)

    def calibrate(self, asked: NewCalibrationBody) -> CalibrationOut:
        """Fit P(manipulated) from what people confirmed."""
        return self._sender.post("/v1/calibrations", CalibrationOut, write_body(asked))

    def calibrations(self, model_id: str | None = None) -> Iterator[CalibrationOut]:
        """Yield fits, newest first."""
        return self._sender.pages("/v1/calibrations", CalibrationOut, {"model_id": model_id})

    def get_calibration(self, calibration_id: str) -> CalibrationOut:
        """Return one fit."""
        return self._sender.get(fill_path("/v1/calibrations/{}", calibration_id), CalibrationOut)

    def audit(
        self,
        subject: str | None = None,
        *,
        actor: str | None = None,
        action: str | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> Iterator[AuditOut]:
        """Yield who did what, newest first; times have a zone, and ``end`` is the first that is left out."""
        times = {
            name: None if time is None else time.isoformat()
            for name, time in (("start_time", start), ("end_time", end))
        }
        asked = {"subject": subject, "actor": actor, "action": action, **times}
        return self._sender.pages("/v1/audit-log", AuditOut, asked)

    def check_audit(self, after: int = 0) -> AuditCheckOut:
        """Recompute the hashes of a piece of the audit log; the next one begins at ``next_after``."""
        return self._sender.get("/v1/audit-log:check", AuditCheckOut, {"after": after})

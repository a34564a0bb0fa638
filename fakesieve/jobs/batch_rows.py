"""The part of a job store that is about lists of jobs."""

from collections.abc import Sequence
from typing import Protocol

from fakesieve.jobs.rows import BatchRow, JobEnd, JobRow, UnsettledBatch
from fakesieve.jobs.states import BatchEnd, BatchState


class BatchRows(Protocol):
    """Lists of jobs as one thing."""

    def read_batch(self, batch_id: str) -> BatchRow | None:
        """Return the batch and its counts."""
        ...

    def find_batch_tenant(self, batch_id: str) -> str | None:
        """Return whose batch it is; None where there is none."""
        ...

    def share_batch(self, batch_id: str) -> BatchState | None:
        """Return the state of a batch, if there is it, and keep it from ending in this transaction's time."""
        ...

    def hold_batch(self, batch_id: str) -> BatchState | None:
        """Return the state of a batch, and keep all others from adding to it or moving it meanwhile."""
        ...

    def set_places(self, batch_id: str, places: int, span_s: float) -> None:
        """Have so many jobs that the batch is to bring count as live, for so long. It is held."""
        ...

    def take_places(self, batch_id: str, taken: int, span_s: float) -> BatchState | None:
        """Have so many fewer places count, the others for so long from now on; hold the batch.

        Returns its state, or None where there is none.
        """
        ...

    def is_cut_off(self, batch_id: str, idle_s: float) -> bool:
        """Whether the batch is open, has no live job and got none for so long.

        Where it is, nobody adds a job to it until the transaction ends.
        """
        ...

    def list_unsettled_batches(self, limit: int, after: str = "") -> list[UnsettledBatch]:
        """Return batches behind that id, in the order of ids, that have not ended or whose end is unfinished.

        It is while live jobs are left that were there before it or came late. Jobs that were retried after
        the end have opened their batch again, but in releases before.
        """
        ...

    def set_batch_state(self, batch_id: str, state: BatchState, end: BatchEnd | None = None) -> bool:
        """Move a batch that has not ended; False when it has. ``end`` says why it ends.

        It has no places any more: its submission is over, or will be refused.
        """
        ...

    def reopen_batches(self, job_ids: Sequence[str]) -> None:
        """Have the batches of jobs that were begun again run, where they have ended.

        One whose list never came whole is open again: it cannot end as if it were complete.
        None of them ends until the transaction does: what judges them waits, and then sees the live jobs.
        """
        ...

    def end_batch_jobs(self, batch_id: str, end: JobEnd, limit: int) -> list[JobRow]:
        """End live jobs of a batch that has ended as :meth:`end_job` does, by their ids, and return them.

        Of a batch that goes on, or runs again, it ends none.
        """
        ...

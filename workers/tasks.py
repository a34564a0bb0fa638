"""The doorbells as Celery tasks: they say which work may be looked at, and the host does the rest."""

from collections.abc import Callable

from celery import Celery
from celery.exceptions import Reject

from fakesieve.jobs.rows import ShardKey

TASKS = PREPARE, SCREEN = "prepare_job", "screen_shard"
MESSAGE_VERSION = 1


def name_task(key: ShardKey) -> str:
    """Return the task that rings for a shard: index 0 prepares its job, the others screen and score."""
    return PREPARE if key.index == 0 else SCREEN


def write_message(key: ShardKey) -> dict[str, object]:
    """Return what a doorbell carries."""
    return {"v": MESSAGE_VERSION, "job": key.job_id, "shard": key.index}


def add_tasks(app: Celery, answer: Callable[[ShardKey], bool]) -> None:
    """Have the tasks of an application call ``answer``, which raises nothing and says no while it drains.

    Arguments are as ``workers.strangers`` lets them through.
    """

    def ring(*, v: int, job: str, shard: int) -> None:  # noqa: ARG001 - v was read when the message came in
        if not answer(ShardKey(job, shard)):
            raise Reject("the host drains", requeue=True)  # for another host

    for name in (PREPARE, SCREEN):
        app.task(name=name, shared=False)(ring)  # of this application alone

"""A queue's order is that of all matches, however many there are and whenever they come."""

import secrets

import pytest
from sqlalchemy import select, text

from fakesieve.database import Database
from fakesieve.records.reviews import ReviewItem
from fakesieve.records.standings import Standing
from fakesieve.reviews.claim import claim_next
from fakesieve.reviews.fill import FILL_BELOW, FILL_ROWS, fill_queue
from fakesieve.reviews.items import view_item
from fakesieve.reviews.queues import load_queue
from fakesieve.values.reviews import QueueOrder
from tests.factories import make_tenant
from tests.fakesieve.reviews.conftest import make_analyses, make_queue

COUNT = FILL_ROWS + 100

# Copies of one analysis, the newest first: the n-th is n minutes old and, by its own expression, has a score.
_COPY = """
WITH made AS (
    INSERT INTO analysis SELECT (jsonb_populate_record(analysis, jsonb_build_object(
        'id', :name || n, 'pipeline_fingerprint', :name || n))).*
    FROM analysis, generate_series(1, :count) AS n WHERE id = :like)
INSERT INTO standing SELECT (jsonb_populate_record(standing, jsonb_build_object(
    'analysis_id', :name || n, 'create_time', now() - n * interval '1 minute',
    'score', {score}, 'verdict', CASE WHEN {score} IS NULL THEN NULL ELSE 'inconclusive' END))).*
FROM standing, generate_series(1, :count) AS n WHERE analysis_id = :like
"""


class Stage:
    """A tenant with as many analyses as a test asks for."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.tenant_id = make_tenant(database, f"tenant {secrets.token_hex(6)}")
        self.like = make_analyses(database, self.tenant_id, (0.5,))[0]

    def run(self, statement: str, **values: object) -> None:
        with self.database.transaction(tenant_id=self.tenant_id) as session:
            session.execute(text(statement), values)

    def add(self, score: str, count: int = COUNT) -> str:
        """Add analyses and return how their names begin; ``n`` of the expression counts from 1."""
        name = f"ana_{secrets.token_hex(4)}_"
        self.run(_COPY.format(score=score), like=self.like, count=count, name=name)
        return name

    def fill(self, queue_id: str) -> int:
        self.run("UPDATE review_queue SET fill_time = NULL")
        with self.database.transaction(tenant_id=self.tenant_id) as session:
            return fill_queue(session, load_queue(session, queue_id))

    def claim(self, queue_id: str, reviewer: str) -> str:
        """Return the analysis that a reviewer is offered first."""
        self.run("UPDATE review_queue SET fill_time = NULL")
        with self.database.transaction(tenant_id=self.tenant_id) as session:
            item_id = claim_next(session, queue_id, reviewer)
            assert item_id is not None
            return view_item(session, item_id).analysis_id

    def list_scores(self, queue_id: str) -> list[float | None]:
        """Return the scores of a queue's items in the order in which they are offered."""
        wanted = select(Standing.score).join(ReviewItem, ReviewItem.analysis_id == Standing.analysis_id)
        with self.database.transaction(tenant_id=self.tenant_id) as session:
            ordered = wanted.where(ReviewItem.queue_id == queue_id).order_by(ReviewItem.rank, ReviewItem.id)
            return list(session.scalars(ordered))


@pytest.fixture
def stage(module_database: Database) -> Stage:
    return Stage(module_database)


def make(stage: Stage, order: QueueOrder, **options: object) -> str:
    return make_queue(stage.database, stage.tenant_id, name=secrets.token_hex(4), order=order, **options)


def test_the_oldest_is_offered_first_whatever_else_comes_in(stage: Stage) -> None:
    name = stage.add("0.5")
    queue_id = make(stage, QueueOrder.OLDEST)
    assert stage.claim(queue_id, "usr_a") == f"{name}{COUNT}"
    newer = stage.add("0.5", count=50)
    assert stage.claim(queue_id, "usr_b") == f"{name}{COUNT - 1}"
    assert newer not in stage.claim(queue_id, "usr_c")


def test_the_highest_score_of_all_is_offered_first(stage: Stage) -> None:
    name = stage.add(f"0.9 * n / {COUNT}")  # the older, the higher
    queue_id = make(stage, QueueOrder.HIGHEST_SCORE)
    assert [stage.claim(queue_id, f"usr_{n}") for n in range(2)] == [f"{name}{COUNT}", f"{name}{COUNT - 1}"]
    higher = stage.add("0.95", count=1)
    assert stage.claim(queue_id, "usr_late") == f"{higher}1"


def test_the_nearest_to_the_middle_is_offered_first_from_both_sides(stage: Stage) -> None:
    name = stage.add(
        "CASE WHEN n = 600 THEN 0.52 WHEN n = 599 THEN 0.47 WHEN n % 2 = 0 THEN 0.9 ELSE 0.1 END"
    )
    queue_id = make(stage, QueueOrder.NEAREST_MIDDLE)
    first = [stage.claim(queue_id, f"usr_{n}") for n in range(3)]
    assert first[:2] == [f"{name}600", f"{name}599"]
    nearer = stage.add("0.501", count=1)
    assert stage.claim(queue_id, "usr_late") == f"{nearer}1"


@pytest.mark.parametrize("order", [QueueOrder.HIGHEST_SCORE, QueueOrder.NEAREST_MIDDLE])
def test_no_evidence_is_never_ranked_as_a_score(stage: Stage, order: QueueOrder) -> None:
    stage.add("CASE n WHEN 2 THEN NULL WHEN 1 THEN 0.01 WHEN 3 THEN 0.99 END", count=3)
    queue_id = make(stage, order)
    assert stage.fill(queue_id) == 4
    scores = stage.list_scores(queue_id)
    assert scores[-1] is None
    assert None not in scores[:-1]


@pytest.mark.parametrize("order", list(QueueOrder))
def test_while_enough_wait_only_what_comes_before_them_is_taken_in(stage: Stage, order: QueueOrder) -> None:
    stage.add("0.5 + 0.3 * n / 600.0", count=FILL_ROWS - 1)
    queue_id = make(stage, order)
    assert stage.fill(queue_id) == FILL_ROWS
    stage.add("NULL", count=5)
    stage.add("0.81", count=3)
    assert stage.fill(queue_id) == (3 if order is QueueOrder.HIGHEST_SCORE else 0)
    assert stage.fill(queue_id) == 0
    assert FILL_BELOW < FILL_ROWS


def test_a_blind_queue_offers_in_no_order_that_tells_of_scores(stage: Stage) -> None:
    stage.add("n / 200.0", count=100)
    queue_id = make(stage, QueueOrder.HIGHEST_SCORE, is_blind=True)
    assert stage.fill(queue_id) == 101
    with stage.database.transaction(tenant_id=stage.tenant_id) as session:
        rows = session.execute(
            select(ReviewItem.id, ReviewItem.rank, Standing.score)
            .join(Standing, Standing.analysis_id == ReviewItem.analysis_id)
            .where(ReviewItem.queue_id == queue_id)
        ).all()
    by_score = sorted(rows, key=lambda row: -row.score)
    assert by_score != sorted(rows, key=lambda row: row.rank)
    assert by_score != sorted(rows, key=lambda row: row.id)

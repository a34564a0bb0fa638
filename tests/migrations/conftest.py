"""A database on its way between revisions."""

from collections.abc import Iterator

import pytest

from fakesieve.embedded.postgres import OWNER_ROLE, PostgresServer
from tests.databases import fresh_name
from tests.migrations.rows import Kept


@pytest.fixture
def kept(postgres: PostgresServer) -> Iterator[Kept]:
    with fresh_name(postgres) as name:
        found = Kept(postgres.url(OWNER_ROLE, name))
        yield found
        found.close()

"""``fakesieve migrate`` says where the database was and is."""

from collections.abc import Iterator

import pytest

from fakesieve.cli.migrate import URL_VARIABLES, migrate
from fakesieve.embedded.postgres import OWNER_ROLE, PostgresServer
from fakesieve.errors import SetupRefused
from fakesieve.records.revision import list_revisions
from tests.databases import fresh_name


@pytest.fixture
def empty_url(postgres: PostgresServer) -> Iterator[str]:
    with fresh_name(postgres) as name:
        yield postgres.url(OWNER_ROLE, name)


@pytest.mark.parametrize("variable", URL_VARIABLES)
def test_it_takes_the_address_from_the_environment(
    empty_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str
) -> None:
    for name in URL_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, empty_url)
    head = list_revisions()[-1]
    migrate(dry_run=True)
    migrate()
    migrate()
    migrate(to="base", dry_run=True)
    migrate(to="base")
    assert capsys.readouterr().out.splitlines() == [
        f"database would go from revision none to {head}",
        f"database went from revision none to {head}",
        f"database is at revision {head}; nothing to do",
        f"database would go from revision {head} to none",
        f"database went from revision {head} to none",
    ]


def test_without_an_address_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in URL_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SetupRefused, match="FAKESIEVE_OWNER_DATABASE_URL"):
        migrate()

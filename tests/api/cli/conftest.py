"""The command line over a served API: a tenant, its key in the environment, and no database there."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import structlog

from api.app import create_app
from fakesieve.database import Database
from fakesieve.embedded.postgres import PostgresServer
from fakesieve.embedded.seaweed import SeaweedServer
from fakesieve.object_stores.s3 import S3Objects
from fakesieve.settings import Settings
from tests.api.callers import Caller
from tests.api.served import serve_app
from tests.commands import Ran, run_command


@dataclass(frozen=True)
class Remote:
    """A caller and its command line. ``run_direct`` is that of who has the database."""

    caller: Caller
    database: Database
    run: Callable[..., Ran]
    run_direct: Callable[..., Ran]

    @property
    def tenant_id(self) -> str:
        return self.caller.tenant_id


@pytest.fixture(scope="module")
def address(settings: Settings) -> Iterator[str]:
    """Where the API answers. Its log is silent: it runs in this process, and commands print here too."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with serve_app(create_app(settings)) as url:
        yield url
    structlog.configure(**before)


@pytest.fixture
def remote(
    address: str,
    acme: Caller,
    module_database: Database,
    module_database_name: str,
    postgres: PostgresServer,
    s3: SeaweedServer,
    store: S3Objects,
    monkeypatch: pytest.MonkeyPatch,
    capfd,
) -> Remote:
    """A tenant of this test alone, with every scope, who may name the whole bucket."""
    monkeypatch.setattr("fakesieve.__main__.signal.signal", lambda *_: None)
    monkeypatch.setenv("FAKESIEVE_API_URL", address)
    monkeypatch.setenv("FAKESIEVE_API_KEY", acme.secret)
    monkeypatch.delenv("FAKESIEVE_DATABASE_URL", raising=False)
    direct = {
        "FAKESIEVE_DATABASE_URL": postgres.url(database=module_database_name),
        "FAKESIEVE_BROKER_URL": "redis://127.0.0.1:1/0",
        "FAKESIEVE_BUCKET": "videos",
        "FAKESIEVE_S3_ENDPOINT": s3.endpoint,
        "FAKESIEVE_S3_ACCESS_KEY": s3.access_key,
        "FAKESIEVE_S3_SECRET_KEY": s3.secret_key,
    }

    def run(*arguments: str) -> Ran:
        return run_command(capfd, *arguments)

    def run_direct(*arguments: str) -> Ran:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in direct.items():
                patch.setenv(name, value)
            return run(*arguments)

    return Remote(acme, module_database, run, run_direct)

"""The API does not start as a role that the database keeps from no tenant."""

import pytest

from fakesieve.embedded.postgres import APP_ROLE, FLEET_ROLE, OWNER_ROLE, SUPERUSER, PostgresServer
from fakesieve.errors import SetupRefused
from fakesieve.reasons import Reason
from fakesieve.records.row_security import check_row_security
from tests.databases import opened


@pytest.mark.parametrize("role", [APP_ROLE, FLEET_ROLE, OWNER_ROLE])
def test_a_role_that_row_security_binds_may_serve(
    postgres: PostgresServer, module_database_name: str, role: str
) -> None:
    with opened(postgres, module_database_name, role) as database:
        check_row_security(database)


def test_a_role_that_sees_all_rows_is_refused(postgres: PostgresServer, module_database_name: str) -> None:
    with opened(postgres, module_database_name, SUPERUSER) as database, pytest.raises(SetupRefused) as caught:
        check_row_security(database)
    assert caught.value.reason is Reason.INVALID_SETTINGS
    assert SUPERUSER in caught.value.seen

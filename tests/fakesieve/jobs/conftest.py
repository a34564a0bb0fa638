"""Fixtures of the tests of jobs."""

from tests.job_stores import case, job_database, job_database_url, postgres, servers_folder  # noqa: F401 - fixtures

"""Fixtures of the tests of jobs."""

from tests.job_stores import case, job_database

__all__ = ["case", "job_database"]

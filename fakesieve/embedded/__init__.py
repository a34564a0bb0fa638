"""Postgres, Valkey and SeaweedFS from Python wheels, for one machine and for the tests."""

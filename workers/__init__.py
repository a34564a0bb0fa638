"""Processes that do: Celery workers, relay and reconciler. The only place where engine and records meet."""

"""One filter out of the options of a command."""

from engine.results import Outcome, VerdictValue
from fakesieve.filters.check import read_filter


def join_filter(
    wanted: str | None, verdict: VerdictValue | None, outcome: Outcome | None, batch: str | None
) -> str | None:
    """Return one filter that says what the options say. Raises FilterInvalid with its place in ``wanted``."""
    read_filter(wanted)
    parts = [f"({wanted})"] if wanted else []
    parts += [f"verdict = {verdict.value}"] if verdict is not None else []
    parts += [f"outcome = {outcome.value}"] if outcome is not None else []
    parts += [f"jobs.batch_id = {_quote(batch)}"] if batch is not None else []
    return " AND ".join(parts) or None


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("*", "\\*")
    return f'"{escaped}"'

"""What was found, for commands, from the API."""

from typing import cast

from api.cli.remote.reading import read_finding, read_job, read_maps
from api.client import Client
from engine.result_forms import JsonObject
from fakesieve.cli.fleet import Found
from fakesieve.errors import RequestRefused
from fakesieve.ids import IdPrefix
from fakesieve.reasons import Reason
from fakesieve.values.findings import FaceMaps, Finding


class RemoteResults:
    """Results of the tenant whose key is at hand."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def load_document(self, name: str, *, with_patches: bool) -> JsonObject:
        """Return the document of a result, as ``fakesieve scan`` writes it, with the job in it."""
        return cast("JsonObject", self._client.results.document(name, with_patches=with_patches))

    def load_result(self, name: str) -> Found:
        """Return a result as people read it; by the id of an analysis, without its job.

        Raises RequestRefused for a job that goes on.
        """
        if not name.startswith(f"{IdPrefix.JOB}_"):
            return Found(name, None, read_finding(self._client.results.get(name)))
        job = self._client.job(name)
        if not job.is_terminal:
            raise RequestRefused(
                Reason.STATE_CONFLICT,
                f"{name} has not ended, it is {job.state.value}",
                f"wait for it: fakesieve watch {name}",
            )
        found = None if job.analysis_id is None else read_finding(self._client.results.get(job.analysis_id))
        return Found(name, read_job(job), found)

    def load_maps(self, found: Finding, ordinal: int, time_us: int | None) -> FaceMaps:
        """Return the patch maps of a face that has them: all, or that of the frame nearest to a time."""
        return read_maps(self._client.results.maps(found.analysis_id, ordinal, time_us))

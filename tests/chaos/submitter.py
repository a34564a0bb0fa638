"""A submission in a process of its own, which may be killed within it. The address of the object is told.

``python submitter.py BUCKET KEY IDEMPOTENCY_KEY`` prints the job's id, as somebody's service would learn it.
"""

import sys

from fakesieve.database import open_database
from fakesieve.jobs.sql.store import SqlJobStore
from fakesieve.jobs.submit import NewJob, submit_video
from fakesieve.objects import VideoRef
from fakesieve.records.tenants import ensure_tenant
from fakesieve.settings import read_settings


def main() -> None:
    """Submit, and say which job it became."""
    bucket, key, idempotency_key = sys.argv[1:]
    database = open_database(read_settings().database_url.get_secret_value(), connections_max=1)
    with database.transaction(tenant_id=None) as session:
        tenant_id = ensure_tenant(session, "default")
    new = NewJob(tenant_id, VideoRef(bucket, key), idempotency_key=idempotency_key)
    print(submit_video(SqlJobStore(database), new).job_id, flush=True)
    database.close()


if __name__ == "__main__":
    main()

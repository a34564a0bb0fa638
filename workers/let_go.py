"""What a worker host does about erasures: it lets go of the copies that it holds, and says so."""

from fakesieve.database import Database
from fakesieve.erasure.hosts import confirm_lettings, list_lettings
from fakesieve.logging import get_logger
from workers.scratch import Scratch

_log = get_logger(__name__)


def let_go(database: Database, owner: str, scratch: Scratch) -> int:
    """Remove copies of what is being erased; return how many erasures this host is done with.

    A copy that somebody works with just now is left to the next call: its job is gone, so it ends soon.
    """
    with database.transaction(tenant_id=None) as session:
        asked = list_lettings(session, owner)
    done = [letting.erasure_id for letting in asked if scratch.forget(letting.refs)]
    if done:
        with database.transaction(tenant_id=None) as session:
            confirm_lettings(session, owner, done)
        _log.info("scratch.let_go", erasures=len(done))
    return len(done)

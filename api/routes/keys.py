"""Who I am."""

from typing import Literal

from api.dependencies import CallerDep
from api.router import ApiRouter
from api.schemas.shape import Answer

router = ApiRouter(tags=["keys"])


class WhoAmI(Answer):
    """The caller as the API sees it."""

    object: Literal["caller"] = "caller"
    key_id: str
    tenant_id: str
    scopes: list[str]


@router.get("/v1/whoami")
def show_caller(caller: CallerDep) -> WhoAmI:
    """Say whose key this is and what it may do."""
    return WhoAmI(key_id=caller.key_id, tenant_id=caller.tenant_id, scopes=sorted(caller.scopes))

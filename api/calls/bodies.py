"""Bodies of requests from what a caller gave."""

from pydantic import BaseModel


def write_body(body: BaseModel) -> dict[str, object]:
    """Return a body as JSON without what is not given; what it leaves out has the API's own default."""
    return body.model_dump(mode="json", exclude_none=True)

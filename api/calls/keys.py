"""Keys of the caller's own tenant."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from api.calls.bodies import write_body
from api.calls.paths import fill_path
from api.calls.sender import Sender
from api.schemas.keys import KeyOut, NewKeyBody, RotateBody
from fakesieve.scopes import Scope

_DAY_S = 24 * 3600


class Keys:
    """Keys; the secret of one is in the answer that makes it and nowhere else."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def create(self, name: str, scopes: Sequence[Scope], expire_time: datetime | None = None) -> KeyOut:
        """Make a key whose scopes are among those of the caller's own."""
        body = NewKeyBody(name=name, scopes=list(scopes), expire_time=expire_time)
        return self._sender.post("/v1/keys", KeyOut, write_body(body))

    def iter(self) -> Iterator[KeyOut]:
        """Yield keys, newest first, those that have ended too."""
        return self._sender.pages("/v1/keys", KeyOut)

    def get(self, key_id: str) -> KeyOut:
        """Return a key without its secret."""
        return self._sender.get(fill_path("/v1/keys/{}", key_id), KeyOut)

    def rotate(self, key_id: str, overlap_s: int = _DAY_S) -> KeyOut:
        """Make a key that takes over from another, which works beside it until the overlap has passed."""
        body = write_body(RotateBody(overlap_s=overlap_s))
        return self._sender.post(fill_path("/v1/keys/{}:rotate", key_id), KeyOut, body)

    def revoke(self, key_id: str) -> KeyOut:
        """End a key at once."""
        return self._sender.post(fill_path("/v1/keys/{}:revoke", key_id), KeyOut)

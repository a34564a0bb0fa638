"""Which objects a tenant may name. The fleet's own key reads every bucket; its tenants must not.

A tenant may name what lies under its places, such as ``s3://acme/incoming/``, and what it has uploaded. What
the fleet keeps in its own bucket for other tenants stays closed whatever the places say.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from fakesieve.objects import VideoRef

# Below these prefixes of the fleet's own bucket each tenant has a folder named after its id.
TENANT_FOLDERS = ("uploads/", "exports/")
# What the fleet itself keeps, such as the marks of sweeps.
FLEET_FOLDER = ".fakesieve/"
NAMED_ALONE = (
    "check the prefix; uploads and exports in the fleet's bucket are passed over, name each by itself"
)
_TENANT_MARK = "ten_"


@dataclass(frozen=True)
class Places:
    """What one tenant may name. ``bucket`` is the fleet's own."""

    tenant_id: str
    bucket: str
    allowed: tuple[tuple[str, str], ...]

    @classmethod
    def read(cls, tenant_id: str, bucket: str, places: Sequence[str]) -> "Places":
        """Read places as the tenant's row holds them."""
        return cls(tenant_id, bucket, tuple(parse_place(place) for place in places))

    def may_read(self, ref: VideoRef) -> bool:
        """Whether the tenant may name an object."""
        if ref.bucket == self.bucket:
            if ref.key.startswith(FLEET_FOLDER):
                return False
            owner = find_owner(ref.key)
            if owner is not None:
                return owner == self.tenant_id
        return self._covers(ref.bucket, ref.key)

    def may_list(self, bucket: str, prefix: str) -> bool:
        """Whether the tenant may have a prefix walked; each object found is looked at again."""
        return self._covers(bucket, prefix)

    def _covers(self, bucket: str, start: str) -> bool:
        return any(bucket == place and start.startswith(prefix) for place, prefix in self.allowed)


def find_owner(key: str) -> str | None:
    """Return whose folder of the fleet's bucket a key lies in; None for one that is nobody's."""
    for folder in TENANT_FOLDERS:
        name, mark, _ = key.removeprefix(folder).partition("/")
        if key.startswith(folder) and mark and name.startswith(_TENANT_MARK):
            return name
    return None


def is_kept_apart(ref: VideoRef, bucket: str) -> bool:
    """Whether an object is the fleet's own, or an upload or export of any tenant; ``bucket`` is the fleet's.

    Walks, sweeps and events pass over it: an upload has a job of its own, an export is no video, and either
    may be another tenant's. Who may name it may still submit it by its own address.
    """
    is_tenants = ref.bucket == bucket and find_owner(ref.key) is not None
    return is_tenants or ref.key.startswith(FLEET_FOLDER)


def parse_place(place: str) -> tuple[str, str]:
    """Read ``s3://bucket/prefix`` into bucket and prefix. Raises ``ValueError`` for anything else.

    A prefix that does not end with a slash would cover ``incoming-of-others`` beside ``incoming``.
    """
    bucket, mark, prefix = place.removeprefix("s3://").partition("/")
    if not place.startswith("s3://") or not mark or (prefix and not prefix.endswith("/")):
        raise ValueError(f"a place looks like s3://bucket/ or s3://bucket/folder/, is {place!r}")
    VideoRef(bucket, prefix or "-")  # checks both
    return bucket, prefix

"""All settings of the fleet, from environment variables FAKESIEVE_*; read once where a process begins."""

import tempfile
from enum import StrEnum
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from fakesieve.errors import SetupRefused
from fakesieve.reasons import Reason
from fakesieve.values.people import UserRole

PREFIX = "FAKESIEVE_"
BEATS_PER_LEASE = 4
# For slots of a worker to reach their next step and give back, after ``drain_s``. Then the process ends
# whatever they do: their leases run out, and a platform would kill it anyway.
GIVE_BACK_S = 15.0
SIDE_PX_MOST = 32_766
"""OpenCV moves no picture with a longer side."""
FRAMES_MOST = 4_000_000
"""Times of more frames would not fit into one message of the sandbox, nor into the row of a job."""
DECODE_WAIT_S_MOST = 600.0
"""A piece of work that takes three times as long is stopped as one that hangs."""
Seconds = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Port = Annotated[int, Field(ge=0, le=65535)]


class LogFormat(StrEnum):
    """How a line of the log looks."""

    JSON = "json"
    TEXT = "text"


class LogLevel(StrEnum):
    """Which events are written: this level and those that are more urgent."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Settings(BaseSettings):
    """What a process is told from outside. Functions take the values that they need, not this."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True)

    database_url: Annotated[
        SecretStr,
        Field(description="Postgres, as `fakesieve_fleet`, or `fakesieve_app` for what answers requests."),
    ]
    broker_url: Annotated[
        SecretStr, Field(description="Redis or Valkey, which carries doorbells and no truth.")
    ]
    bucket: Annotated[str, Field(min_length=1, description="Where `submit` puts local files.")]
    s3_endpoint: Annotated[
        str | None, Field(description="Address of the object store; absent is Amazon's own.")
    ] = None
    s3_public_endpoint: Annotated[
        str | None, Field(description="The same store as callers of the API reach it; absent is s3_endpoint.")
    ] = None
    s3_access_key: Annotated[
        str | None, Field(description="Absent with the secret: boto3 looks for a role of the machine.")
    ] = None
    s3_secret_key: Annotated[SecretStr | None, Field(description="Goes with the access key.")] = None
    s3_region: Annotated[
        str, Field(description="Part of every signature, even where there is one region.")
    ] = "us-east-1"
    objects_dir: Annotated[
        Path | None, Field(description="A folder instead of S3, for one machine without an object store.")
    ] = None
    api_key: Annotated[
        SecretStr | None, Field(description="Whose tenant the commands act for; absent is the first tenant.")
    ] = None

    scratch_dir: Annotated[
        Path,
        Field(description="Where downloads lie while they are decoded, and exports while they are written."),
    ] = Path(tempfile.gettempdir())
    slots: Annotated[
        Count | None, Field(description="Shards at a time on a host; absent is one for each core.")
    ] = None
    model: Annotated[str, Field(description="Name or folder of the model, part of the fingerprint.")] = (
        "lv-compact"
    )
    model_keys: Annotated[
        Path | None,
        Field(description="PEM file of public keys; a worker runs only models that one of them signed."),
    ] = None
    engine: Annotated[
        str, Field(description="What runs the network; `auto` takes the fastest that passes its check.")
    ] = "auto"
    policy: Annotated[
        str | None, Field(description="Preset thresholds instead of those that the model brings.")
    ] = None

    # What a video may cost a worker; absent is as the engine has it, see docs/reference/limits.md.
    video_bytes_max: Annotated[Count | None, Field(description="Size of a video file.")] = None
    video_s_max: Annotated[float | None, Field(ge=0.001, le=1e9, description="Duration of a video.")] = None
    video_pixels_max: Annotated[
        Count | None, Field(description="Pixels of a frame, part of the fingerprint.")
    ] = None
    video_side_px_max: Annotated[
        int | None, Field(ge=1, le=SIDE_PX_MOST, description="Longer side of a frame.")
    ] = None
    video_side_px_min: Annotated[
        Count | None, Field(description="Shorter side of a frame; a smaller one is TOO_SMALL.")
    ] = None
    video_streams_max: Annotated[Count | None, Field(description="Streams in a file.")] = None
    video_frames_max: Annotated[
        int | None, Field(ge=1, le=FRAMES_MOST, description="Frames of a video, part of the fingerprint.")
    ] = None
    video_codecs: Annotated[
        str, Field(description="Codecs that are accepted, as in `h264,hevc`; empty is all that are known.")
    ] = ""
    decode_wait_s: Annotated[
        float | None,
        Field(ge=0.1, le=DECODE_WAIT_S_MOST, description="Time of one look or one stretch."),
    ] = None
    decode_memory_bytes_max: Annotated[
        int | None,
        Field(ge=1, le=1 << 48, description="Memory of a decoder, part of the fingerprint."),
    ] = None

    lease_s: Annotated[
        Seconds, Field(description="How long a silent worker keeps its shard: the time to notice a death.")
    ] = 60
    reconcile_s: Annotated[
        Seconds, Field(description="How often overdue work is looked for; one small query each.")
    ] = 10
    relay_s: Annotated[
        Seconds,
        Field(description="How often the outbox is looked at while it is empty: the wait of a new job."),
    ] = 0.2
    max_attempts: Annotated[
        Count,
        Field(description="Bad ends of a shard before its job fails; more only repeats a poison video."),
    ] = 3
    doorbell_wait_s: Annotated[
        Seconds,
        Field(description="When a published message counts as lost; longer than a queue of two a slot."),
    ] = 90
    batch_idle_s: Annotated[
        Seconds,
        Field(
            description="After which a list that gets no more jobs counts as cut off; callers try for less."
        ),
    ] = 3_600
    drain_s: Annotated[
        Seconds, Field(description="From SIGTERM to giving shards back; below the platform's grace period.")
    ] = 25
    host_jobs_max: Annotated[
        Count | None,
        Field(
            description="Pieces of work, two a short job, after which a worker starts anew; absent is never."
        ),
    ] = None
    host_memory_bytes_max: Annotated[
        Count | None, Field(description="Memory of a worker beyond which it starts afresh; absent is never.")
    ] = None
    scratch_free_bytes_min: Annotated[
        Count,
        Field(description="Free disk below which a worker takes no work: one large video and its parts."),
    ] = 2 << 30
    database_connections: Annotated[
        Count,
        Field(description="Connections of a process at most; times all processes below max_connections."),
    ] = 12

    webhook_networks: Annotated[
        str,
        Field(
            description="Networks of one's own that webhooks may reach, such as `10.1.0.0/16,fd00:1::/32`."
        ),
    ] = ""

    token_key: Annotated[
        SecretStr | None,
        Field(description="Signs page tokens, the same in every process; absent is a new one at each start."),
    ] = None
    api_host: Annotated[
        str, Field(description="Where `serve` listens; 0.0.0.0 in a container, behind a proxy with TLS.")
    ] = "127.0.0.1"
    api_port: Annotated[Port, Field(description="The port of `serve`.")] = 8080
    api_proxies: Annotated[
        str | None, Field(description="Addresses of proxies whose X-Forwarded-For is believed, with commas.")
    ] = None
    api_rate_per_s: Annotated[
        Seconds, Field(description="Requests a second of one key, per process, once its burst is spent.")
    ] = 50
    api_burst: Annotated[Count, Field(description="Requests that a key may send at once.")] = 200
    api_body_bytes_max: Annotated[
        Count, Field(description="Longest body of a request; videos never pass through the API.")
    ] = 4 << 20
    api_streams_max: Annotated[
        Count, Field(description="Event streams and long polls of one tenant at a time, per process.")
    ] = 20
    upload_bytes_max: Annotated[
        Count, Field(description="Largest file that a form of POST /v1/uploads lets through.")
    ] = 4 << 30
    upload_s: Annotated[Seconds, Field(description="How long such a form may be used.")] = 900
    export_s: Annotated[Seconds, Field(description="How long a file of POST /v1/exports stays.")] = 86_400

    oidc_issuer: Annotated[
        str | None,
        Field(description="Identity provider whose people may sign in; as it names itself, `https://...`."),
    ] = None
    oidc_client_id: Annotated[str | None, Field(description="Name of this installation there.")] = None
    oidc_client_secret: Annotated[
        SecretStr | None, Field(description="Its secret there; absent is a public client.")
    ] = None
    oidc_redirect_url: Annotated[
        str | None,
        Field(description="Where it sends people back: `https://HOST/sign-in/callback`, registered there."),
    ] = None
    oidc_tenant: Annotated[
        str | None, Field(description="Name of the organisation that its people belong to.")
    ] = None
    oidc_scope: Annotated[str, Field(description="What is asked of it about a person.")] = (
        "openid email profile"
    )
    oidc_group_claim: Annotated[str, Field(description="The claim that roles come from.")] = "groups"
    oidc_roles: Annotated[
        str,
        Field(description="Roles by group, `sieve-admins=admin,trust=reviewer`; empty: those given here."),
    ] = ""
    oidc_default_role: Annotated[
        UserRole | None, Field(description="Role of people in none of the groups; absent is no access.")
    ] = None
    oidc_label: Annotated[str, Field(description="What the button of the sign-in page names.")] = (
        "your organisation"
    )

    metrics_port: Annotated[
        Port | None,
        Field(description="Where Prometheus reads this process; absent is nowhere, 0 any free port."),
    ] = None
    otlp_endpoint: Annotated[
        str | None, Field(description="Where traces go, over OTLP and HTTP; absent is nowhere.")
    ] = None
    log_format: Annotated[LogFormat, Field(description="`text` is for reading in a terminal.")] = (
        LogFormat.JSON
    )
    log_level: Annotated[LogLevel, Field(description="`debug` shows every claim and heartbeat.")] = (
        LogLevel.INFO
    )

    @property
    def heartbeat_s(self) -> float:
        """How often a lease is extended: three may be lost before the lease is."""
        return self.lease_s / BEATS_PER_LEASE

    @field_validator("oidc_roles")
    @classmethod
    def _check_roles(cls, text: str) -> str:
        read_roles(text)
        return text

    @model_validator(mode="after")
    def _check_provider(self) -> Self:
        needed = {
            "oidc_client_id": self.oidc_client_id,
            "oidc_redirect_url": self.oidc_redirect_url,
            "oidc_tenant": self.oidc_tenant,
        }
        missing = [name for name, value in needed.items() if value is None]
        if self.oidc_issuer is not None and missing:
            raise ValueError(f"oidc_issuer needs {missing[0]} too")
        if self.oidc_issuer is not None and not _is_safe(self.oidc_issuer):
            raise ValueError("oidc_issuer begins with https://; http:// is for this machine alone")
        return self

    @field_validator("webhook_networks")
    @classmethod
    def _check_networks(cls, text: str) -> str:
        for network in split_list(text):
            ip_network(network)
        return text

    @model_validator(mode="after")
    def _check_pairs(self) -> Self:
        if (self.s3_access_key is None) != (self.s3_secret_key is None):
            raise ValueError("s3_access_key and s3_secret_key go together; one of them is missing")
        if self.doorbell_wait_s < self.reconcile_s:
            raise ValueError("doorbell_wait_s is below reconcile_s: every message would be sent twice")
        return self


def split_list(text: str) -> list[str]:
    """Return the parts of a list that is written with commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def read_roles(text: str) -> dict[str, UserRole]:
    """Return roles by group from ``group=role`` with commas. Raises ValueError for what is none."""
    found = dict[str, UserRole]()
    for part in split_list(text):
        group, mark, role = part.rpartition("=")
        if not mark or not group or role not in set(UserRole):
            raise ValueError(f"{part!r} is not group=role with one of {', '.join(UserRole)}")
        found[group] = UserRole(role)
    return found


def _is_safe(issuer: str) -> bool:
    parts = urlsplit(issuer)
    return parts.scheme == "https" or (
        parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1", "::1")
    )


def read_settings() -> Settings:
    """Read the environment, or raise SetupRefused that names every variable that is missing or wrong."""
    try:
        return Settings.model_validate({})
    except ValidationError as error:
        # Inputs are left out of the message: they may be secrets.
        problems = [
            _describe(problem["loc"], problem["type"], problem["msg"])
            for problem in error.errors(include_input=False, include_url=False)
        ]
    raise SetupRefused(Reason.INVALID_SETTINGS, "; ".join(problems), _HINT)


_HINT = "set them, or load those of a running fleet: . DIR/env, which 'fakesieve up --dir DIR' has written"


def _describe(place: tuple[int | str, ...], kind: str, message: str) -> str:
    name = PREFIX + str(place[0]).upper() if place else ""
    if kind == "missing":
        return f"{name} is not set"
    return f"{name}: {message}" if name else message.removeprefix("Value error, ")

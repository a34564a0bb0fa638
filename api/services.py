"""What all requests share: settings, the database, the object store. Opened once for a process."""

import secrets
from dataclasses import dataclass

from api.limits import Rate, RequestLimits
from api.metrics import ApiMetrics
from api.readiness import Readiness, watch_database, watch_revision
from api.slots import Slots
from api.tickets import SignInProvider
from fakesieve.database import Database, open_database
from fakesieve.object_stores.s3 import S3Objects
from fakesieve.object_stores.select import PROMPT, open_links, open_objects
from fakesieve.objects import ObjectStore
from fakesieve.people.provider import RoleRules
from fakesieve.settings import Settings, read_roles

CONNECT_S = 10
"""For the database to take a connection: less than a request waits for its turn (``api/slots.py``), so that
who waits behind one whose connection is not answered has time left."""


@dataclass(frozen=True)
class Services:
    """The process's connections, its limits and its figures.

    ``token_key`` signs page tokens. ``links`` makes links for callers; there are none to a folder.
    """

    settings: Settings
    database: Database
    objects: ObjectStore
    links: S3Objects | None
    token_key: bytes
    slots: Slots
    limits: RequestLimits
    metrics: ApiMetrics
    readiness: Readiness
    started: Readiness
    provider: SignInProvider | None


def open_services(settings: Settings) -> Services:
    """Return services of which nothing is connected yet."""
    database = open_database(
        settings.database_url.get_secret_value(),
        connections_max=settings.database_connections,
        connect_s=CONNECT_S,
        application="fakesieve api",
    )
    key = settings.token_key
    signing = key.get_secret_value().encode() if key else secrets.token_bytes(32)
    return Services(
        settings,
        database,
        open_objects(settings, retry=PROMPT),
        open_links(settings),
        signing,
        Slots(settings.database_connections),
        RequestLimits.make(Rate(settings.api_burst, settings.api_rate_per_s), settings.api_streams_max),
        ApiMetrics(),
        watch_database(database),
        watch_revision(database),
        open_provider(settings),
    )


def open_provider(settings: Settings) -> SignInProvider | None:
    """Return the identity provider that the settings name; None where they name none."""
    if settings.oidc_issuer is None:
        return None
    # Lazy: a second of imports that most installations do not need.
    from api.provider import IdentityProvider, ProviderRules

    assert settings.oidc_client_id is not None
    assert settings.oidc_redirect_url is not None
    assert settings.oidc_tenant is not None
    secret = settings.oidc_client_secret
    rules = ProviderRules(
        settings.oidc_issuer,
        settings.oidc_client_id,
        settings.oidc_redirect_url,
        None if secret is None else secret.get_secret_value(),
        settings.oidc_scope,
        settings.oidc_group_claim,
    )
    roles = RoleRules(read_roles(settings.oidc_roles), settings.oidc_default_role)
    return SignInProvider(IdentityProvider(rules), settings.oidc_tenant, roles, settings.oidc_label)

"""All tables in one place, for migrations and for whoever makes a whole database."""

from fakesieve.records import (
    analysis_tables,
    audit,
    calibrations,
    erasure,
    exports,
    idempotency,
    jobs,
    models,
    policies,
    review_notes,
    reviews,
    rulings,
    saved_views,
    standings,
    tags,
    tenants,
    uploads,
    users,
    videos,
    webhooks,
)
from fakesieve.records.table import Base

MODULES = (
    tenants,
    users,
    videos,
    tags,
    models,
    policies,
    analysis_tables,
    standings,
    rulings,
    jobs,
    uploads,
    idempotency,
    reviews,
    review_notes,
    saved_views,
    calibrations,
    webhooks,
    erasure,
    exports,
    audit,
)
METADATA = Base.metadata
# Seen by each tenant for its own rows alone. ``tenant`` itself is compared by its key.
TENANT_COLUMNS = {
    table.name: "id" if table.name == "tenant" else "tenant_id"
    for table in METADATA.sorted_tables
    if table.name == "tenant" or "tenant_id" in table.columns
}
SHARED_TABLES = frozenset(METADATA.tables) - set(TENANT_COLUMNS)

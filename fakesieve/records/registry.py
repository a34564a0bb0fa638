"""All tables in one place, for migrations and for whoever makes a whole database."""

from fakesieve.records import analysis_tables, jobs, models, policies, standings, tags, tenants, videos
from fakesieve.records.table import Base

MODULES = (tenants, videos, tags, models, policies, analysis_tables, standings, jobs)
METADATA = Base.metadata
# Seen by each tenant for its own rows alone. ``tenant`` itself is compared by its key.
TENANT_COLUMNS = {
    table.name: "id" if table.name == "tenant" else "tenant_id"
    for table in METADATA.sorted_tables
    if table.name == "tenant" or "tenant_id" in table.columns
}
SHARED_TABLES = frozenset(METADATA.tables) - set(TENANT_COLUMNS)

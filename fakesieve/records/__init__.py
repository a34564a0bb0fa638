"""Tables and their named queries, one module a noun."""

"""A million analyses in Postgres: what they weigh, and how long questions about them take."""

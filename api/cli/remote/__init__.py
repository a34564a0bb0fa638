"""The fleet of commands over its API, for whoever has a key and not the database."""

"""Commands over the API, for whoever has its address and a key and not the database."""

"""The requests of the client, one resource a file, and what sends them."""

"""The HTTP API and its client: what programs see of the fleet."""

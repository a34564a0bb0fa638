"""Webhooks: events, endpoints, signatures, the guard of addresses and the schedule."""

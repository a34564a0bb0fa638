"""Shapes on the wire: what requests bring and answers hold. No behaviour."""

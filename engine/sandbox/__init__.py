"""Decoding of untrusted media in a child process that can open, connect to and start nothing."""

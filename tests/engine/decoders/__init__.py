"""Tests of what runs inside the sandbox child, called here in process on media that we drew."""

"""Tests of the sandbox: what is refused inside, and that outside nothing is lost."""

"""Recipes for the bad-file corpus, one module a subject; tests/hostile.py makes the files."""

"""One module for each resource; each has a ``router`` that ``api/app.py`` lists."""

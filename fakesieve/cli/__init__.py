"""Commands of the fleet; the table in fakesieve/__main__.py loads each when it is used."""

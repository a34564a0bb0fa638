"""The fleet of commands over its database, for who runs it: works while the API is down."""

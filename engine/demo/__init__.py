"""The demonstration: real clips from a package, and a forgery made of one of them."""

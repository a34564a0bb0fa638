"""Every tolerance of the test suite, once, with the reason for its size."""

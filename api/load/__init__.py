"""A load test of a running API: what is asked, at which moments it is sent, and what came of it."""

"""Makes model bundles: reads checkpoints, writes graphs, checks them. Scanning does without this package."""

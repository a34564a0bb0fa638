"""What models are called before one is read: apart from the bundles, for commands show it in their help."""

DEFAULT_MODEL = "lv-compact"

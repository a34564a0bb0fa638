"""The commands. Each reads its arguments, calls the engine and prints."""

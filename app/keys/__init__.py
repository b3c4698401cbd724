"""API keys: their file, the keys in force, sessions and rates. Knows no HTTP."""

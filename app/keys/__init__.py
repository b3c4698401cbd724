"""API keys: their file, who has one, and how often one may ask. Knows no HTTP."""

"""Pictures and recordings as people send them, decoded for models."""

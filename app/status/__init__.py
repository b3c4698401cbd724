"""The status of all replicas: their models, memory and events."""

"""The versions of all models: kept in step with the models folder, and leased to requests."""

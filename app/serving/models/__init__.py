"""A ready version of a model: its task, its engine and its statistics."""

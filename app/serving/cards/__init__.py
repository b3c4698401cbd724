"""The card of a model: the schema of `model.yaml`, its reading and its problems."""

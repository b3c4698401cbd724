"""How a model's pictures were scaled in its training, as far as its file shows it."""

"""The kinds of outputs: what each tensor of a model becomes in an answer."""

"""The kinds of inputs: what clients send for each, and the tensors that it becomes."""

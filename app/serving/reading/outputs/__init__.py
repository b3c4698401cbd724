"""What the numbers of a model's outputs are: read from its graph, its training and its answers."""

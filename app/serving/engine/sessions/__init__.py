"""TensorFlow sessions: the only code that runs a graph while serving."""

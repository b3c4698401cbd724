"""Programs that train the models of this repository, and measure what is read of models."""

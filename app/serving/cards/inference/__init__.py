"""What a card does not say, told from the model and the files beside it."""

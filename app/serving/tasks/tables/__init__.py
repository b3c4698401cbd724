"""CSV: tables as people send them and as they open them."""

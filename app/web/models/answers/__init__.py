"""What a page shows of an answer: readings, tables, plots and heat maps."""

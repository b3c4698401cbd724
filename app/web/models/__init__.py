"""The pages of models: a module for each kind of page, and the forms and tables that they share."""

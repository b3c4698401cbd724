"""The peers: one module for each, as the documentation of its framework shows it. They run in the
environment of the peers and share nothing with Keraport but the model files and their cards."""

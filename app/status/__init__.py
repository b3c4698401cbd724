"""The state of the whole: every replica, its models, and what has happened."""

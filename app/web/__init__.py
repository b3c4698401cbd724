"""The pages for people. May import the APIs, whose answers they show."""

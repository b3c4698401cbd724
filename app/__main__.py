"""`python -m app` runs the command line."""

from app.cli.main import main

# The guard matters: the reader process (`multiprocessing` spawn) imports this module again.
if __name__ == "__main__":
    main()

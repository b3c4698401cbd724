"""`python -m app` runs the command line."""

from app.cli import main

# The guard matters: the loader process (`multiprocessing` spawn) imports this module again.
if __name__ == "__main__":
    main()

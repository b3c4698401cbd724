"""`python -m app`, but noticing changes sooner."""

from app.cli.main import main
from app.serving.registry import sync

sync.POLL_S, sync.STILL_S = 0.2, 1.0
# Longer than it takes to notice a change and be sure of it.
SURE_S = 2.5

# The process that reads models imports this module as well.
if __name__ == "__main__":
    main()

"""`profile`: how fast one model runs here, and which settings of its card follow from that."""

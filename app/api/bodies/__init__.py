"""Bodies of requests: how they are framed, coded, bounded and kept."""

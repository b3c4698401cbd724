"""The composed stack: real containers, real TLS."""

"""The server process: start, signals and drain, and the handler of pywsgi."""

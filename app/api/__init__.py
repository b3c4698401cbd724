"""The APIs for programs, one package per protocol; `bodies`, `http` and `telemetry` are shared."""

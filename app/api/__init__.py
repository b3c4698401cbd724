"""The APIs for programs, one package per protocol; `http` and `telemetry` are shared by all."""

"""The record of each request, the access log and the metrics."""

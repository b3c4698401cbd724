"""gRPC: TensorFlow Serving's API, the Open Inference Protocol and health checks."""

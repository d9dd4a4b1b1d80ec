"""TensorRT: building, caching and running plans."""

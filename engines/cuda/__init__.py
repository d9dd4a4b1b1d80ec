"""The CUDA driver by pycuda, cuda-bindings or ctypes."""

"""Samplers in NumPy: the constants are a bundle's, the results are those of diffusers."""

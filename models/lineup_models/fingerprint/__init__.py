"""The fingerprint: what is left of an image's spectrum when its content is taken away."""

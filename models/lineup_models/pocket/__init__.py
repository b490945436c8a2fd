"""The pocket lineup: a drawn world with captions, and small models trained on it."""

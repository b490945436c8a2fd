"""Support sets: reference fingerprints of known sources, on disk."""

"""Export of fingerprint models."""

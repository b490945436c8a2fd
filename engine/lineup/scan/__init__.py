"""Many images in, one row per image out, resumable."""

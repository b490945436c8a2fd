"""Silhouettes and surfaces of the things of the pocket world."""

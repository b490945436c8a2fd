"""Exports the pocket lineup: the output of its training becomes bundles."""

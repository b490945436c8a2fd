"""Classifiers over fingerprints that can say "none of them"."""

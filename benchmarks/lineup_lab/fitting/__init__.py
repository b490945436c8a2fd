"""Fitting calibrations and classifiers on labelled images."""

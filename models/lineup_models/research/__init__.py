"""Trainers of methods from papers that the shipped engine does not run."""

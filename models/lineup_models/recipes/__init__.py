"""Recipes of public models as data: where the weights are, what they are, how they are run."""

"""Exports public models: recipes, hub repositories and local folders become bundles."""

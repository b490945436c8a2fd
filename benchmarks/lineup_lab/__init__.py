"""The laboratory: protocols of accuracy, fits of what a lineup needs, and the bench harness."""

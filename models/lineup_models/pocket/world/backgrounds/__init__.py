"""Places of the pocket world."""

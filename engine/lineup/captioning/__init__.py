"""From an image to the words that describe it."""

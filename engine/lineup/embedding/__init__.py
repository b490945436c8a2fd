"""From an image to CLIP features of one layer."""

"""The models of a lineup: captioner, image encoder, and the generators with their schedulers."""

"""Torch definitions of the models behind lineup's evidence, and the commands that fit them."""

"""Simulator of generators: photographs in, reconstructions with a decoder's traces out."""

"""Models of transformers and diffusers in the signatures of a bundle's graphs."""

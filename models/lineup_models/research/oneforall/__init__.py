"""The One-for-All fingerprint: learned from photographs and a simulator of generators."""

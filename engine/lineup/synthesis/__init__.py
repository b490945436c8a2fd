"""From a prompt to images of one candidate."""

"""Finding images, reading them safely, and cutting them into tiles."""

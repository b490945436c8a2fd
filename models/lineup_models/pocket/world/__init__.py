"""The pocket world: drawn scenes with true captions, for training small models.

A scene holds what a caption tells; a picture of it follows from the scene and a seed.
"""

"""The pocket world: drawn scenes with true captions, for training small models.

A scene holds what a caption tells; a picture of it follows from the scene and a seed.
"""

from lineup_models.pocket.world.grammar import VOCABULARY
from lineup_models.pocket.world.render import pixels_from_scene
from lineup_models.pocket.world.scene import Group, Scene, scene_from_seed

__all__ = [
    "VOCABULARY",
    "Group",
    "Scene",
    "pixels_from_scene",
    "scene_from_seed",
]

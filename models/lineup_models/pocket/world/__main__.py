"""`python -m lineup_models.pocket.world`: a look at the pocket world."""

from lineup_models.pocket.world.cli import world

if __name__ == "__main__":
    world(prog_name="python -m lineup_models.pocket.world")

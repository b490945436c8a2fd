"""`python -m lineup_models.simulator`: long runs of the simulator, each resumable."""

from lineup_models.simulator.cli import simulator

if __name__ == "__main__":
    simulator(prog_name="python -m lineup_models.simulator")

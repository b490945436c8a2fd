"""`lineup eval`: accuracy measured on labelled images."""

from __future__ import annotations

import click

from lineup_lab.cli.eval_attribution import attribution
from lineup_lab.cli.eval_classes import closed_set, open_set
from lineup_lab.cli.eval_real import real
from lineup_lab.cli.eval_verification import verification


@click.group("eval", short_help="Measure accuracy on labelled images.")
def evaluate() -> None:
    """Measure accuracy on labelled images."""


for protocol in (attribution, closed_set, open_set, real, verification):
    evaluate.add_command(protocol)

"""``glocal evaluate``: one file for each command."""

from __future__ import annotations

import typer

from glocal.cli.evaluate.anomaly import anomaly_command
from glocal.cli.evaluate.ceiling import ceiling_command
from glocal.cli.evaluate.few_shot import few_shot_command
from glocal.cli.evaluate.odd_one_out import odd_one_out_command
from glocal.cli.evaluate.retrieval import retrieval_command
from glocal.cli.evaluate.rsa import rsa_command
from glocal.cli.evaluate.scores import scores_command
from glocal.cli.evaluate.structure import structure_command
from glocal.cli.evaluate.suite import suite_command

app = typer.Typer(help="Score features, transformed or not.", no_args_is_help=True, rich_markup_mode=None)
app.command("odd-one-out")(odd_one_out_command)
app.command("rsa")(rsa_command)
app.command("ceiling")(ceiling_command)
app.command("few-shot")(few_shot_command)
app.command("anomaly")(anomaly_command)
app.command("structure")(structure_command)
app.command("scores")(scores_command)
app.command("retrieval")(retrieval_command)
app.command("suite")(suite_command)


@app.callback()
def _evaluate() -> None:
    """Score features, transformed or not."""

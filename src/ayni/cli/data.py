"""`ayni data`: what is known about data, and what may be made of them."""

import typer

from ayni.cli import data_audit, data_augment, data_card, data_corrupt, data_generate

app = typer.Typer(no_args_is_help=True, help="Data sets, generated data and what they give away.")
app.command("card")(data_card.card)
app.command("augment")(data_augment.augment)
app.command("generate")(data_generate.generate)
app.command("audit")(data_audit.audit)
app.command("corrupt")(data_corrupt.corrupt)

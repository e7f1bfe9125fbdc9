"""A group of commands whose first word may also be the argument of the group itself.

`ayni compress me/digits --task ...` works on a model, `ayni compress show` is a command below. A first word
that names no command belongs to the group's own callback, which takes arguments and options in any order.

Not covered: options of the group before the name of a command; they belong to the callback alone.
"""

from typing import Any

from typer.core import TyperGroup

_IS_COMMAND = "ayni.cli.model_or_command"


class ModelOrCommand(TyperGroup):
    """A group that is a command too. Its callback looks at `invoked_subcommand` before it does anything.

    A model that is called like a command is given as a path: `./show`.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Decide by the first word which of the two was meant."""
        is_command = bool(args) and args[0] in self.commands
        ctx.meta[_IS_COMMAND] = is_command
        if not is_command:
            ctx.allow_interspersed_args = True
            ctx.allow_extra_args = False
        return super().parse_args(ctx, args)

    def get_params(self, ctx: Any) -> list[Any]:
        """All parameters, but for a command below only `--help`: nothing else is asked of it."""
        params: list[Any] = super().get_params(ctx)
        if not ctx.meta.get(_IS_COMMAND):
            return params
        return [param for param in params if param.name == "help"]

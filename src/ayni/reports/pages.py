"""How templates of pages are found and filled: everything is escaped, and what is missing is an error.

Not covered: the pages themselves; each has a module of its own.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ayni.reports import formats

if TYPE_CHECKING:
    from jinja2 import Environment


def page_environment(
    names: Iterable[str], more: Mapping[str, Callable[..., Any]] | None = None
) -> "Environment":
    """Templates of this package, with these functions of `formats` as filters, and `more` by their names."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("ayni.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {name: getattr(formats, name) for name in names} | dict(more or {})
    return environment

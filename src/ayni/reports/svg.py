"""The frame of every figure: an SVG with its title and description, and text inside it.

Text stays text, user text is escaped, and colours are CSS classes of the page.

Not covered: what is drawn inside (`plots`, `sustainability.plots`).
"""

from collections.abc import Iterable

from markupsafe import Markup, escape


def svg_figure(
    parts: Iterable[Markup], *, key: str, title: str, description: str, width: float, height: float
) -> Markup:
    """An SVG of width x height units around its parts.

    `key` is its id on the page: letters, digits and hyphens. `description` says in sentences what is shown.
    """
    body = Markup("\n").join(parts)
    return Markup(
        '<svg class="plot" viewBox="0 0 {width:g} {height:g}" role="img" '
        'aria-labelledby="{key}-title {key}-desc">\n'
        '<title id="{key}-title">{title}</title>\n<desc id="{key}-desc">{description}</desc>\n{body}\n</svg>'
    ).format(
        width=width,
        height=height,
        key=key,
        title=title,
        description=description,
        body=body,
    )


def svg_text(x: float, y: float, content: str, *, css: str = "tick", anchor: str = "start") -> Markup:
    """One line of text; y is its base line."""
    return Markup(
        '<text x="{x:.1f}" y="{y:.1f}" class="{css}" text-anchor="{anchor}">{content}</text>'
    ).format(x=x, y=y, css=css, anchor=anchor, content=escape(content))

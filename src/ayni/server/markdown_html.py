"""Markdown of members as HTML that is safe to show: no scripts, no styles, no raw HTML, no images.

Raw HTML is not rendered in the first place, and what comes out is cleaned by an allow-list nevertheless, so
that a mistake in one of the two does no harm.

Not covered: mentions, and colours of program text.
"""

import nh3
from markdown_it import MarkdownIt

# Without images: one that lies elsewhere tells its server who reads what.
TAGS = {
    *("a", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol"),
    *("p", "pre", "s", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul"),
}
_ATTRIBUTES = {"a": {"href", "title"}}
# Deep nesting makes a parser slow, and nobody reads it.
_PARSER = MarkdownIt("commonmark", {"html": False, "maxNesting": 30}).enable(["table", "strikethrough"])


def markdown_html(text: str) -> str:
    """HTML of a text in CommonMark with tables."""
    return nh3.clean(
        _PARSER.render(text),
        tags=TAGS,
        attributes=_ATTRIBUTES,
        url_schemes={"http", "https", "mailto"},
        link_rel="nofollow noopener noreferrer ugc",
    )

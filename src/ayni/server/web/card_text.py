"""A card's Markdown as HTML that is safe to show: whatever is in it, it runs nothing and loads nothing.

Markdown is rendered with the HTML that people put into cards, then everything that is not on the lists below
is taken out by a parser of HTML as browsers have it. What is left is fitted into the page: headings go one
level down, their ids get a prefix of their own, relative links lead to the files of the same revision, and
pictures are those of the repository; one from elsewhere would tell its owner who reads, so its description
stands there instead.

Not covered: formulas, colours of code, and pictures in SVG files.
"""

import posixpath
import re
import threading
import unicodedata
import urllib.parse
from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

import nh3
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

MOST_CHARACTERS = 100_000
MOST_KEPT_CHARACTERS = 16_000_000
ID_PREFIX = "card-"
PICTURE_SUFFIXES = ("gif", "jpeg", "jpg", "png", "webp")
_TAGS = frozenset(
    [
        "a",
        "abbr",
        "b",
        "blockquote",
        "br",
        "center",
        "cite",
        "code",
        "dd",
        "del",
        "details",
        "dfn",
        "div",
        "dl",
        "dt",
        "em",
        "figcaption",
        "figure",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "hr",
        "i",
        "img",
        "ins",
        "kbd",
        "li",
        "mark",
        "ol",
        "p",
        "picture",
        "pre",
        "q",
        "s",
        "samp",
        "small",
        "span",
        "strong",
        "sub",
        "summary",
        "sup",
        "table",
        "tbody",
        "td",
        "tfoot",
        "th",
        "thead",
        "tr",
        "tt",
        "u",
        "ul",
        "var",
    ]
)
_ATTRIBUTES = {
    "a": {"href", "title"},
    "abbr": {"title"},
    "details": {"open"},
    "img": {"src", "alt", "title", "width", "height"},
    "ol": {"start"},
    "td": {"align", "colspan", "rowspan"},
    "th": {"align", "colspan", "rowspan", "scope"},
    "div": {"align", "class", "tabindex", "role", "aria-label"},
    "p": {"align"},
    **{f"h{level}": {"align", "id"} for level in range(2, 7)},
}
# The frame around a table, which scrolls where the page is narrow; nothing else is a region or takes focus.
_SCROLLED = {"class": "scroll", "tabindex": "0", "role": "region", "aria-label": "Table"}
_HEADING_IN_HTML = re.compile(r"<(/?)h([1-6])(?=[\s>/])", re.IGNORECASE)
_ALIGNED = re.compile(r"text-align:(left|center|right)")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_SCHEMES = {"http", "https", "mailto"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CardPlace:
    """Where a text stands: the repository's page, the revision, and the folder of the file."""

    page: str
    revision: str
    folder: str = ""

    def address(self, kind: str, path: str) -> str | None:
        """The address of a file that a link names relative to the text; None outside of the repository."""
        inside = posixpath.normpath(posixpath.join(self.folder, urllib.parse.unquote(path)))
        if inside in (".", "..") or inside.startswith(("../", "/")):
            return None
        return f"{self.page}/{kind}/{urllib.parse.quote(self.revision, safe='')}/{urllib.parse.quote(inside)}"


def card_html(text: str, place: CardPlace) -> Markup:
    """The text of a card, without its metadata, as HTML.

    What is longer than `MOST_CHARACTERS` is cut, and says so.
    """
    is_cut = len(text) > MOST_CHARACTERS
    tokens = _parser().parse(text[:MOST_CHARACTERS])
    _fit(tokens)
    parser = _parser()
    rendered = parser.renderer.render(tokens, parser.options, {})
    safe = nh3.clean(
        rendered,
        tags=set(_TAGS),
        attributes=_ATTRIBUTES,
        clean_content_tags={"script", "style"},
        attribute_filter=lambda tag, name, value: _attribute(place, tag, name, value),
        url_schemes=_SCHEMES,
        link_rel="nofollow noopener noreferrer",
        set_tag_attribute_values={"img": {"loading": "lazy"}},
    )
    rest = '<p class="note">The rest of this text is too long to be shown here; open the file.</p>'
    return Markup(safe + (rest if is_cut else ""))


def without_metadata(text: str) -> str:
    """What stands below the metadata of a card."""
    lines = text.removeprefix("\ufeff").split("\n")
    if lines[0].rstrip() != "---":
        return text
    end = next((number for number, line in enumerate(lines[1:], start=1) if line.rstrip() == "---"), None)
    return text if end is None else "\n".join(lines[end + 1 :])


class RenderedTexts:
    """Texts that were rendered, those used last, by the SHA-256 of the file and its place. Thread-safe.

    A long text takes a second; what is behind a digest never changes.
    """

    def __init__(self, *, most_characters: int = MOST_KEPT_CHARACTERS) -> None:
        self._most = most_characters
        self._num_characters = 0
        self._texts: OrderedDict[tuple[str, CardPlace], Markup] = OrderedDict()
        self._lock = threading.Lock()

    def html(self, sha256: str, text: str, place: CardPlace) -> Markup:
        """The HTML of a file's text."""
        key = (sha256, place)
        with self._lock:
            if key in self._texts:
                self._texts.move_to_end(key)
                return self._texts[key]
        rendered = card_html(text, place)
        with self._lock:
            if key not in self._texts:
                self._texts[key] = rendered
                self._num_characters += len(rendered)
            while self._num_characters > self._most:
                _, oldest = self._texts.popitem(last=False)
                self._num_characters -= len(oldest)
        return rendered


def _parser() -> MarkdownIt:
    # Deeper nesting is left as text; Python's stack is not deep.
    parser = MarkdownIt("commonmark", {"html": True, "maxNesting": 20})
    return parser.enable(["table", "strikethrough"])


def _fit(tokens: list[Token]) -> None:
    """Headings one level down and with ids, tables in frames, alignment without styles."""
    known: Counter[str] = Counter()
    for place, token in enumerate(tokens):
        if token.type == "heading_open":
            token.attrSet("id", _unused(_slug(tokens[place + 1].content), known))
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1]) + 1)}"
        style = token.attrGet("style")
        if isinstance(style, str) and (found := _ALIGNED.fullmatch(style)) is not None:
            token.attrs = {"align": found[1]}
        if token.children:
            token.children = list(_without_pictures_from_elsewhere(token.children))
        for each in (token, *(token.children or ())):
            if each.type in ("html_block", "html_inline"):
                each.content = _HEADING_IN_HTML.sub(_lower, each.content)
    tokens[:] = _framed(tokens)


def _framed(tokens: list[Token]) -> Iterator[Token]:
    for token in tokens:
        if token.type == "table_open":
            yield Token("frame_open", "div", 1, attrs=dict(_SCROLLED), block=True)
        yield token
        if token.type == "table_close":
            yield Token("frame_close", "div", -1, block=True)


def _without_pictures_from_elsewhere(tokens: list[Token]) -> Iterator[Token]:
    """What a picture from elsewhere shows stands there in words, as a link to it unless it is in a link."""
    num_links = 0
    for token in tokens:
        num_links += token.nesting if token.type in ("link_open", "link_close") else 0
        source = str(token.attrGet("src") or "")
        if token.type != "image" or not _is_elsewhere(source):
            yield token
            continue
        words = Token("text", "", 0, content=token.content or "picture")
        if num_links > 0:
            yield words
        else:
            yield Token("link_open", "a", 1, attrs={"href": source})
            yield words
            yield Token("link_close", "a", -1)


def _lower(found: re.Match[str]) -> str:
    return f"<{found[1]}h{min(6, int(found[2]) + 1)}"


def _slug(text: str) -> str:
    words = unicodedata.normalize("NFKC", text).lower()
    return re.sub(r"[^\w]+", "-", words).strip("-")[:80] or "section"


def _unused(slug: str, known: Counter[str]) -> str:
    known[slug] += 1
    return f"{ID_PREFIX}{slug}{'' if known[slug] == 1 else f'-{known[slug]}'}"


def _attribute(place: CardPlace, tag: str, name: str, value: str) -> str | None:
    if tag == "div":
        return value if _SCROLLED.get(name) == value or name == "align" else None
    if name == "id":
        return value if value.startswith(ID_PREFIX) else ID_PREFIX + value
    if name == "href":
        return _link(place, value.strip())
    if name == "src":
        return _picture(place, value.strip())
    return value


def _link(place: CardPlace, link: str) -> str | None:
    if link.startswith("#"):
        return "#" + ID_PREFIX + link[1:].removeprefix(ID_PREFIX).lower()
    if _SCHEME.match(link):
        return link if link.split(":", 1)[0].lower() in _SCHEMES else None
    if link.startswith(("//", "\\", "/\\")):
        return None
    if link.startswith("/"):
        return link
    path, _, fragment = link.partition("#")
    address = place.address("blob", path.partition("?")[0])
    return None if address is None else address + (f"#{ID_PREFIX}{fragment.lower()}" if fragment else "")


def _is_elsewhere(source: str) -> bool:
    return _SCHEME.match(source) is not None or source.startswith(("/", "\\"))


def _picture(place: CardPlace, source: str) -> str | None:
    if _is_elsewhere(source):
        return None
    path = source.partition("?")[0].partition("#")[0]
    suffix = path.rpartition(".")[2].lower()
    return place.address("raw", path) if suffix in PICTURE_SUFFIXES else None

"""Every link from one built page to another must lead to a page and a place on it.

Sphinx checks references, not what ends up as a plain link: Markdown anchors, links in
tables, links in raw HTML. This reads the finished pages, and each broken link is a
warning, so an error under ``-W``.
"""

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The links of a page, and the places on it that a link may lead to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.places: set[str] = {""}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = {name: value for name, value in attrs if value}
        self.places |= {given[name] for name in ("id", "name") if name in given}
        self.links |= {given[name] for name in ("href", "src") if name in given}


def broken_links(site: Path) -> list[tuple[str, str]]:
    """Pairs of a page, relative to the site, and a link on it that leads nowhere."""
    pages = {
        path.resolve(): Page(path.read_text(encoding="utf-8"))
        for path in site.rglob("*.html")
        if "_static" not in path.parts
    }
    return [
        (str(path.relative_to(site.resolve())), link)
        for path, page in sorted(pages.items())
        for link in sorted(page.links)
        if not _leads_somewhere(path, link, pages)
    ]


def _leads_somewhere(path: Path, link: str, pages: dict[Path, Page]) -> bool:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return True
    goal = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if goal.is_dir():
        goal = goal / "index.html"
    if goal in pages:
        return unquote(parts.fragment) in pages[goal].places
    return goal.exists()


def _check(app, exception):
    from sphinx.util import logging  # here: the tests read this file without Sphinx

    if exception is None and app.builder.name == "html":
        logger = logging.getLogger(__name__)
        for page, link in broken_links(Path(app.outdir)):
            logger.warning("%s: the link %s leads nowhere", page, link)


def setup(app):
    app.connect("build-finished", _check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

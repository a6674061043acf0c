"""Pages that are files of the repository, and links to files outside of the site.

A page whose only line is ``This page is [text](../path/of/a/file.md).`` has that file's text. Links to the file, from
any page, lead to the page. A link to a file that is no page leads to where the repository is shown; where no address is
known, the file's name stands beside the text. So the same links work on the site and among the repository's files.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

STAND_IN = re.compile(r"\s*This page is \[[^\]]*\]\(([^)#]+)\)\.\s*\Z")
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?![a-z]+:)([^)#\s]+)(#[^)\s]*)?\)")
CODE = re.compile(r"(```.*?```)", re.S)
DOCS = "docs"


def joined(folder: str, path: str) -> str:
    """A path of the repository, from a folder of it and a relative path."""
    return posixpath.normpath(posixpath.join(folder, path))


def find_stand_ins(docs: Path) -> dict[str, str]:
    """The pages that are files of the repository: path of the file to path of the page, relative to its root.

    Args:
        docs: the folder of the pages.
    """
    found = {}
    for page in sorted(docs.rglob("*.md")):
        name = posixpath.join(DOCS, page.relative_to(docs).as_posix())
        if match := STAND_IN.match(page.read_text(encoding="utf-8")):
            found[joined(posixpath.dirname(name), match[1])] = name
    return found


def rewrite(text: str, *, file: str, page: str, stand_ins: dict[str, str], repository: str = "") -> str:
    """Rewrite the links of a text so that they work on the page that shows it.

    Args:
        text: in Markdown.
        file: the file that has the text, relative to the repository's root.
        page: the page that shows it; the same for a page of its own.
        stand_ins: see :func:`find_stand_ins`.
        repository: what the path of a file follows in an address; "": no address is known.
    """
    here = posixpath.dirname(page)

    def target(match):
        image, words, path, anchor = match[1], match[2], joined(posixpath.dirname(file), match[3]), match[4] or ""
        path = stand_ins.get(path, path)
        if image or path.startswith(f"{DOCS}/"):
            return f"{image}[{words}]({posixpath.relpath(path, here)}{anchor})"
        if repository:
            return f"[{words}]({repository}{path}{anchor})"
        return words if path in words else f"{words} (`{path}`)"

    pieces = CODE.split(text)
    pieces[::2] = [LINK.sub(target, piece) for piece in pieces[::2]]
    return "".join(pieces)


def on_source_read(app: Any, document: str, source: list[str]) -> None:
    """Give a page the text of its file, and rewrite its links (event ``source-read``)."""
    docs = Path(app.srcdir)
    stand_ins = find_stand_ins(docs)
    page = file = posixpath.join(DOCS, f"{document}.md")
    for path, name in stand_ins.items():
        if name == page:
            file = path
            source[0] = (docs.parent / path).read_text(encoding="utf-8")
            app.env.note_dependency(str(docs.parent / path))
    source[0] = rewrite(source[0], file=file, page=page, stand_ins=stand_ins, repository=app.config.repository_url)


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    app.add_config_value("repository_url", "", "env")
    app.connect("source-read", on_source_read)
    return {"parallel_read_safe": True}

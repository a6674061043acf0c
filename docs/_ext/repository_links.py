"""Links from a page to files outside of the site: to where the repository is shown, or the file's name beside the text.

``[text](../datasets/README.md)`` works as it is where the repository's files are read; the site does not have the file.
"""

import posixpath
import re
from typing import Any

LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((\.\./[^)#\s]+)(#[^)\s]*)?\)")


def rewrite(text: str, folder: str, repository: str) -> str:
    """Rewrite the links of a page that lead out of the site.

    Args:
        text: the page, in Markdown.
        folder: of the page, relative to the repository's root.
        repository: what the path of a file follows in an address; "": no address is known.
    """

    def replacement(match):
        path = posixpath.normpath(posixpath.join(folder, match[2]))
        if repository:
            return f"[{match[1]}]({repository}{path}{match[3] or ''})"
        return match[1] if path in match[1] else f"{match[1]} (`{path}`)"

    return LINK.sub(replacement, text)


def on_source_read(app: Any, document: str, source: list[str]) -> None:
    """Rewrite the links of every page (event ``source-read``)."""
    folder = posixpath.join("docs", posixpath.dirname(document))
    source[0] = rewrite(source[0], folder, app.config.repository_url)


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    app.add_config_value("repository_url", "", "env")
    app.connect("source-read", on_source_read)
    return {"parallel_read_safe": True}

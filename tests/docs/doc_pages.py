"""The pages of the documentation, and what their blocks of code say."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Words of the shell before which a command may stand; a line that begins with ``for`` only names values.
KEYWORDS = ("do", "then", "else", "!")
# Between commands; a bracket opens or closes a group of them.
SEPARATORS = {";", "&&", "||", "|", "&", "(", ")"}


def pages():
    """Every Markdown file of the repository that has commands for users and developers."""
    found = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "datasets" / "README.md"]
    found += (ROOT / "docs").rglob("*.md")
    found += (path for path in (ROOT / "projects").rglob("*.md") if "tests" not in path.parts)
    return sorted(found)


def blocks(page, language):
    """The blocks of code of one language in a page, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.S | re.M)


def commands(block):
    """The commands of a block for the shell: lists of words, without assignments, redirections and loops' heads.

    A word that is a variable of the block becomes the words of its value.
    """
    variables = {}
    for line in _whole_lines(re.sub(r"\\\n\s*", " ", block)):
        command = []
        for word in [*line, ";"]:
            if word not in SEPARATORS:
                command += variables.get(word, [word])
                continue
            if len(command) == 1 and (assigned := re.match(r"(\w+)=(.*)", command[0], re.S)):
                variables[f"${assigned[1]}"] = shlex.split(assigned[2])
            elif command := _without_surroundings(command):
                yield command
            command = []


def _whole_lines(text):
    """The words of each line; a line goes on where a quotation mark is open."""
    line = ""
    for part in text.splitlines():
        line += part
        lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|()")
        lexer.whitespace_split, lexer.commenters = True, "#"
        try:
            yield list(lexer)
            line = ""
        except ValueError:
            line += "\n"


def _without_surroundings(words):
    """A command without what stands before and behind it."""
    while words and (words[0] in KEYWORDS or re.match(r"\w+=", words[0])):
        words = words[1:]
    if words and words[0] in ("for", "done", "fi"):
        return []
    redirections = [place for place, word in enumerate(words) if word.startswith((">", "<", "2>"))]
    return words[: redirections[0]] if redirections else words

"""What documents and comments point to is there: files, headings, config keys; nothing points out of the repository."""

import re
from pathlib import Path

import pytest
import yaml
from detectron2.config import CfgNode, get_cfg

import rle_onestage  # noqa: F401  its keys join those of Detectron2
from rle_onestage.engine.config.renamed import RENAMED

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("configs", "datasets", "docs", "projects", "rle_onestage", "tests", "tools")
KINDS = (".md", ".py", ".sh", ".yaml")
# Names of later files in examples.
EXAMPLES = {"configs/paws.yaml", "projects/NAME/"}


def sources(kinds=KINDS):
    """The project's texts of these kinds: those at the root and below its folders."""
    found = [path for path in ROOT.iterdir() if path.suffix in kinds or path.name in ("Makefile", "NOTICE")]
    for folder in FOLDERS:
        # Users may keep whole data sets in datasets/.
        inside = (ROOT / folder).glob("*") if folder == "datasets" else (ROOT / folder).rglob("*")
        found += [path for path in inside if path.suffix in kinds]
    return [path for path in found if path.is_file() and path != Path(__file__).resolve()]


def without_code(text):
    """Markdown without its blocks of code."""
    return re.sub(r"```.*?```", "", text, flags=re.S)


def headings(path):
    """The anchors of a Markdown file's headings, as GitHub makes them."""
    found = re.findall(r"^#+ +(.*)$", without_code(path.read_text(encoding="utf-8")), re.M)
    return {re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") for title in found}


def dangling_links(path):
    """Links of a Markdown file to files or headings that are not there."""
    text = without_code(path.read_text(encoding="utf-8"))
    for link in re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'src="([^"]+)"', text):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in headings(target)):
            yield link


def test_links_lead_somewhere():
    assert not {f"{path.relative_to(ROOT)}: {link}" for path in sources((".md",)) for link in dangling_links(path)}


def test_files_that_are_named_are_there():
    path_like = re.compile(rf"(?<![\w/.$}}-])(?:{'|'.join(FOLDERS)})/[\w./-]*\w(?:\.\w+|/)(?![\w{{*$/])")
    missing = set()
    for source in sources((".md", ".yaml")):
        for name in path_like.findall(source.read_text(encoding="utf-8")):
            if not ((ROOT / name).exists() or (source.parent / name).exists() or name in EXAMPLES):
                missing.add(f"{source.relative_to(ROOT)}: {name}")
    assert not missing


@pytest.mark.parametrize("pattern", [r"\bDESIGN\b", r"\.\./shared", r"\bANCHORS\b", r"\b[Ii]ssue #?\d"])
def test_nothing_points_to_what_only_its_makers_have(pattern):
    pointing = [path for path in sources() if re.search(pattern, path.read_text(encoding="utf-8"))]
    assert not [str(path.relative_to(ROOT)) for path in pointing]


def key_ends(node, prefix=()):
    """All ends of a config's keys, such as ``TEST.OKS_POWER`` of ``MODEL.RLE_ONESTAGE.TEST.OKS_POWER``."""
    for name, value in node.items():
        path = (*prefix, name)
        yield from (".".join(path[start:]) for start in range(len(path)))
        if isinstance(value, CfgNode):
            yield from key_ends(value, path)


def test_config_keys_that_are_named_exist():
    known = set(key_ends(get_cfg()))
    key = re.compile(r"(?<![\w./$@{*-])[A-Z][A-Z0-9_]*(?:\.[A-Z][A-Z0-9_]*)+(?!\w)")
    unknown = set()
    for path in sources():
        if "tests" not in path.relative_to(ROOT).parts:
            earlier = RENAMED if path.name == "renamed.py" else ()
            names = set(key.findall(path.read_text(encoding="utf-8"))) - known - set(earlier)
            unknown |= {f"{path.relative_to(ROOT)}: {name}" for name in names}
    assert not unknown


def test_the_workflow_runs_the_gate_and_a_bug_report_asks_for_the_environment():
    github = ROOT / ".github"
    forms = {path.name: yaml.safe_load(path.read_text()) for path in github.rglob("*.yml")}
    assert {"run": ".ci/run"} in forms["gate.yml"]["jobs"]["gate"]["steps"]
    fields = {field["id"]: field for field in forms["bug.yml"]["body"]}
    assert "detectron2.utils.collect_env" in fields["environment"]["attributes"]["description"]

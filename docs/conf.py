"""Settings of the site: ``python -m sphinx -W -b html docs output/docs`` builds it, without a network."""

import importlib.metadata
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(HERE / "_ext"), str(ROOT)]
os.environ.setdefault("MPLBACKEND", "Agg")

import rle_onestage  # noqa: E402

project = "rle-onestage"
author = "The authors of rle-onestage"
copyright = author  # noqa: A001 -- Sphinx's name
release = version = rle_onestage.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "config_reference",
    "repository_links",
]
source_suffix = {".md": "markdown"}
highlight_language = "text"
exclude_patterns = ["_ext"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# Where the files of the repository are shown, if the package's metadata says so (the URL named Source).
_urls = dict(url.split(", ", 1) for url in importlib.metadata.metadata("rle-onestage").get_all("Project-URL") or ())
repository_url = f"{_urls['Source'].rstrip('/')}/blob/main/" if "Source" in _urls else ""

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_default_options = {"members": True}
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"rle-onestage {release}"
html_theme_options = {"navigation_with_keys": True}
html_static_path = ["_static"]
html_css_files = ["wide.css"]
html_copy_source = False
html_show_sphinx = False

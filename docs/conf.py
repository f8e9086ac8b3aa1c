"""How Sphinx builds the documentation: MyST pages in the furo theme."""

from importlib.metadata import version as version_of

project = "ASTRO"
author = "The ASTRO authors"
project_copyright = "2026, The ASTRO authors"
release = version = version_of("astro-orchestrator")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = "ASTRO"

"""How Sphinx builds the documentation.

From a checkout with the extra ``docs``, with warnings as errors, as the CI does:
``python -m sphinx -W --keep-going -b html docs docs/_build/html``.
"""

import logging
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE / "_extensions")]

import sklearn_ann  # noqa: E402 - its place is known only now

project = "sklearn_ann"
author = "The sklearn_ann developers"
project_copyright = author
version = release = sklearn_ann.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_parser",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "gallery_pages",
    "internal_links",
]
exclude_patterns = [
    "_build",
    "auto_examples/**/*.ipynb",
    "auto_examples/**/*.py",
    "sg_execution_times.rst",
]
templates_path = ["_templates"]

smartquotes = False  # 'relu' stays what can be typed
# Single backticks in docstrings are parameters and attributes as often as functions.
default_role = "literal"

# ------------------------------------------------------------------ what is a warning
nitpicky = True
# Other projects' pages are not looked up: the build needs no network.
nitpick_ignore_regex = [(r"py:.*", r"(sklearn|statsmodels|numpy|pandas|doubleml)\..*")]
suppress_warnings = [
    "config.cache",  # the gallery's settings hold functions
]

# A toctree may take pages as they come, by a pattern. (This warning has no type by
# which `suppress_warnings` could know it.)
logging.getLogger("sphinx.sphinx.directives.other").addFilter(
    lambda record: getattr(record, "subtype", None) != "empty_glob"
)

# ---------------------------------------------------------------------- API reference
autosummary_generate = True
autodoc_mock_imports = ["marginaleffects", "polars"]  # what the adapter adapts to
autodoc_typehints = "none"  # types are in the docstrings, with shapes
numpydoc_show_class_members = False  # the template of classes lists them

# --------------------------------------------------------------------- Markdown pages
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

# ---------------------------------------------------------------------------- gallery
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"[\\/]plot_",
    "within_subsection_order": "gallery_pages.reading_order",
    "abort_on_example_error": True,
    "reset_modules": ("matplotlib", "gallery_pages.plain_state"),
    "reset_modules_order": "both",
    "doc_module": ("sklearn_ann",),
    "backreferences_dir": "generated/backreferences",
    "reference_url": {"sklearn_ann": None},
    "remove_config_comments": True,
    "show_memory": False,
    "show_signature": False,
    "download_all_examples": False,
    "min_reported_time": 1e9,  # times of the build's machine say little
    "plot_gallery": "True",
}
# A prompt is not copied, nor what follows it.
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True

# ------------------------------------------------------------------------------ pages
html_theme = "pydata_sphinx_theme"
html_title = "sklearn_ann"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "_static/network.svg"
html_show_sourcelink = False
html_show_sphinx = False
html_theme_options = {
    "logo": {
        "image_light": "_static/network.svg",
        "image_dark": "_static/network.svg",
        "text": "sklearn_ann",
    },
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "header_links_before_dropdown": 6,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
}
# Pages without pages below them give their room to the text.
html_sidebars = {
    page: [] for page in ("index", "api", "coming_from_*", "parity", "changelog")
}

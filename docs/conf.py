"""How Sphinx builds the documentation; `scripts/docs` runs it."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

from sphinx_gallery.sorting import FileNameSortKey

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]

import fastmlp  # noqa: E402

project = "fastmlp"
author = "The fastmlp developers"
copyright = author  # noqa: A001
release = version = fastmlp.__version__

extensions = [
    "mathml",
    "outside_names",
    "repository_links",
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "examples"]
templates_path = ["_templates"]
default_role = "literal"
# Docstrings write |x| for the absolute value; to reStructuredText it is a name to fill in.
rst_prolog = r".. |x| replace:: \|x\|"

# Every reference must lead somewhere.
nitpicky = True
suppress_warnings = ["config.cache"]  # a function in the configuration of the gallery

# -- the reference ---------------------------------------------------------------------------

autosummary_generate = True
autosummary_ignore_module_all = False
autodoc_typehints = "none"
numpydoc_show_class_members = False
numpydoc_validation_checks: set[str] = set()  # tests/test_docstrings.py

# -- the gallery -----------------------------------------------------------------------------


def set_style(gallery_conf: dict[str, Any], example: str) -> None:
    """Draw every example in the same style, and stop it at its first warning."""
    import matplotlib.pyplot as plt

    plt.rcParams.update(
        {
            "figure.figsize": (7.2, 3.8),
            "figure.constrained_layout.use": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "legend.frameon": False,
        }
    )
    warnings.filterwarnings("error", module="__main__")


sphinx_gallery_conf = {
    "examples_dirs": ["examples/course", "examples/guide"],
    "gallery_dirs": ["auto_examples/course", "auto_examples/guide"],
    "filename_pattern": r"\.py$",
    "within_subsection_order": FileNameSortKey,
    "abort_on_example_error": True,
    "backreferences_dir": "api/generated/backreferences",
    "doc_module": ("fastmlp",),
    "reset_modules": ("matplotlib", set_style),
    "image_srcset": ["2x"],
    "remove_config_comments": True,
    "show_memory": False,
    "write_computation_times": False,
    "show_signature": False,
    "min_reported_time": 1e9,
    "copyfile_regex": r".*\.rst",
}

# -- the pages -------------------------------------------------------------------------------

html_theme = "pydata_sphinx_theme"
html_title = "fastmlp"
html_static_path = ["_static"]
html_css_files = ["fastmlp.css"]
html_math_renderer = "mathml"
html_show_sourcelink = False
toc_object_entries_show_parents = "hide"
html_sidebars = {page: [] for page in ("start", "how_it_is_built", "contributing", "changelog")}
html_theme_options = {
    "navbar_align": "left",
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "header_links_before_dropdown": 6,
    "pygments_light_style": "tango",
    "pygments_dark_style": "github-dark",
}

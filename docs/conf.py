"""The configuration of Sphinx.

``make docs`` writes the site to ``site/``, without a network and with warnings as errors.
"""

from __future__ import annotations

import html
import re
import tomllib
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any

from docutils import nodes
from docutils.nodes import SkipNode
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util.osutil import relative_uri

import glocal

project = "glocal"
author = "The glocal developers"
version = release = glocal.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
root_doc = "index"
source_suffix = {".md": "markdown"}
smartquotes = False  # two hyphens begin an option
exclude_patterns = ["**/.ipynb_checkpoints", "log.md"]  # the log is read in the repository

myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

# the extra docs has no PyTorch, whose names in signatures are enough
_NETWORKS = ("torch", "torchvision", "timm", "open_clip", "PIL", "lightning", "onnxruntime")
autodoc_mock_imports = [library for library in _NETWORKS if find_spec(library) is None]

autodoc_default_options = {
    "member-order": "bysource",
    "special-members": "__call__",  # a term of the objective is called
    # methods of scikit-learn, whose docstrings refer to its own site
    "exclude-members": (
        "set_fit_request, set_score_request, set_transform_request, get_metadata_routing"
    ),
}
autodoc_typehints = "none"  # the numpydoc sections have the types in words, with shapes
napoleon_google_docstring = False
napoleon_use_param = False
napoleon_use_rtype = False
napoleon_use_ivar = True
default_role = "code"  # `name` in a docstring is code, as in Markdown
add_module_names = False
python_use_unqualified_type_names = True
python_display_short_literal_types = True

html_theme = "pydata_sphinx_theme"
html_title = f"glocal {release}"
html_favicon = "_static/favicon.svg"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_show_sourcelink = False
html_copy_source = False
_PROJECT = tomllib.loads(Path(__file__).parents[1].joinpath("pyproject.toml").read_text("utf-8"))
html_theme_options = {
    "logo": {"text": f"glocal {release}"},
    "icon_links": [
        {
            "name": "Repository",
            "url": _PROJECT["project"]["urls"]["Repository"],
            "icon": "fa-brands fa-github",
        }
    ],
    "navbar_align": "left",
    "header_links_before_dropdown": 6,  # all of them: none is hidden behind "More"
    "show_nav_level": 1,
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
templates_path = ["_templates"]
html_sidebars = {"**": ["sidebar-pages.html"], "index": [], "start": [], "search": []}
project_copyright = author
copybutton_exclude = ".linenos, .gp, .go"


def write_mathml(translator: Any, node: Any) -> None:
    """Write a formula as MathML, which browsers draw without downloading MathJax."""
    block = node.tagname == "math_block"
    formula = tex2mathml(node.astext(), as_block=block)  # a wide block scrolls, by the keyboard too
    translator.body.append(
        formula.replace("<math ", '<math tabindex="0" ', 1) if block else formula
    )
    raise SkipNode


def escape_bars(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Escape the |x| of a docstring, which reStructuredText would read as a substitution."""
    for number, line in enumerate(lines):
        parts = line.split("``")  # every second part is code
        parts[::2] = [part.replace("|", r"\|") for part in parts[::2]]
        lines[number] = "``".join(parts)


def add_narrow_drawings(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Make each image that has a narrow drawing beside it a picture, which phones show so."""
    for image in list(doctree.findall(nodes.image)):
        file = PurePosixPath(image["uri"])
        narrow = file.with_stem(f"{file.stem}-narrow")
        if (Path(app.srcdir) / narrow).is_file():
            app.builder.images[str(narrow)] = narrow.name
            address = relative_uri(app.builder.get_target_uri(docname), f"_images/{narrow.name}")
            source = f'<picture><source media="(max-width: 700px)" srcset="{address}">'
            place = image.parent.index(image)
            image.parent.insert(place + 1, nodes.raw("", "</picture>", format="html"))
            image.parent.insert(place, nodes.raw("", source, format="html"))


SECTIONS = {
    "index": """
        Start <start>
        Should I use it? <should-i-use-it>
        Guide <concepts>
        A study <collect>
        Results <results>
        Reference <cli/index>""",
    "should-i-use-it": "use-it recipes other-networks",
    "concepts": "data fit tune evaluate extract troubleshooting",
    "collect": "deploy collect-manual",
    "results": "all-results data-sources",
    "cli/index": """decide fit use measure prepare /file-formats /measures /method
        /api/align /api/aligner /api/transform /api/data /api/evaluation /api/sweep /api/report
        /api/extract /api/solver /api/records /extend /security /scale-out /windows /changes""",
}
"""The pages below a page. They stand here because the repository would show a toctree as code."""


def add_pages_below(app: Sphinx, docname: str, source: list[str]) -> None:
    """List the pages of a section below its first page."""
    if docname in SECTIONS:
        entries = SECTIONS[docname]
        lines = entries.splitlines() if "<" in entries else entries.split()
        listing = "\n".join(line.strip() for line in lines if line.strip())
        source[0] += f"\n```{{toctree}}\n:hidden:\n\n{listing}\n```\n"


def add_description(
    app: Sphinx, docname: str, template: str, context: dict[str, Any], doctree: Any
) -> None:
    """State the title and the first paragraph of a page where previews of a link look for them."""
    if doctree is None:
        return
    paragraph = next(iter(doctree.findall(nodes.paragraph)), None)
    words = paragraph.astext().split() if paragraph is not None else [project]
    description = html.escape(" ".join(words)[:300])
    title = html.escape(re.sub("<[^>]+>", "", context["title"]))
    context["metatags"] = (
        f"{context.get('metatags', '')}\n"
        f'<meta name="description" content="{description}">\n'
        f'<meta property="og:type" content="website">\n'
        f'<meta property="og:site_name" content="{project}">\n'
        f'<meta property="og:title" content="{title}">\n'
        f'<meta property="og:description" content="{description}">\n'
        '<meta name="twitter:card" content="summary">'
    )


_BLOCK = re.compile(r"<pre>.*?</pre>", re.DOTALL)
_HYPHENATED = re.compile(r"[\w./:]*-[\w./:-]*\w(?![^<>]*>)")  # outside a tag


def keep_options_whole(
    app: Sphinx, docname: str, template: str, context: dict[str, Any], doctree: Any
) -> None:
    """Let the lines of a block of code break between words only, never inside an option."""

    def whole(block: re.Match[str]) -> str:
        return _HYPHENATED.sub(r'<span class="whole">\g<0></span>', block[0])

    if "body" in context:
        context["body"] = _BLOCK.sub(whole, context["body"])


INCLUDED = {
    "collect-manual": "../packages/glocal-collect/README.md",
    "changes": "../CHANGELOG.md",
    "data-sources": "../benchmarks/DATA.md",
}
"""Files of the repository that pages of the site show in place of the link to them."""


def include_file(app: Sphinx, docname: str, source: list[str]) -> None:
    """Show a file of the repository in place of the page that links to it."""
    if docname in INCLUDED:
        source[0] = f"```{{include}} {INCLUDED[docname]}\n:relative-docs: ../../docs\n```\n"


def setup(app: Sphinx) -> None:
    """Register the functions above."""
    app.connect("source-read", include_file)
    app.connect("source-read", add_pages_below)
    app.connect("html-page-context", add_description)
    app.connect("html-page-context", keep_options_whole)
    app.connect("doctree-resolved", add_narrow_drawings)
    app.add_html_math_renderer("mathml", (write_mathml, None), (write_mathml, None))
    app.connect("autodoc-process-docstring", escape_bars)

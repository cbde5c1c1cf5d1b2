"""What a person looks at after a training: one page of scores, tables and figures.

`write_page` writes `index.html` and every figure as PNG into the run folder. The page
stands alone: pictures and style are inside it, it loads nothing and runs no script. It
knows no recipe; what is particular to one comes in as tables, pictures and sections.
Something else than a training fills a `Page` of the same looks itself.

Importing this package imports neither matplotlib nor jinja2, which cost a second.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

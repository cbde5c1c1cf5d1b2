"""What a person looks at after a training: one page of scores, tables and figures.

`write_page` writes `index.html` and every figure as PNG into the run folder. The page
stands alone: pictures and style are inside it, it loads nothing and runs no script. It
knows no recipe; what is particular to one comes in as tables, pictures and sections.

Importing this package imports neither matplotlib nor jinja2, which cost a second.
"""

from recipes.report.classification import Answers, classification_page
from recipes.report.figures import BLUE, ORANGE, confusion_matrix, learning_curves, reliability
from recipes.report.page import (
    Picture,
    Score,
    Section,
    Summary,
    Table,
    confident_mistakes,
    write_page,
)
from recipes.report.transcription import Transcripts, aligned, transcription_page

__all__ = [
    "Answers",
    "BLUE",
    "ORANGE",
    "Picture",
    "Score",
    "Section",
    "Summary",
    "Table",
    "Transcripts",
    "aligned",
    "classification_page",
    "confident_mistakes",
    "confusion_matrix",
    "learning_curves",
    "reliability",
    "transcription_page",
    "write_page",
]

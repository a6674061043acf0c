"""Images and videos of people, and pages of images. All images are BGR uint8."""

from .pages import contact_sheet, side_by_side
from .people import CONFIDENT, PERSON_COLOURS, PRESENT, SIDE_COLOURS, draw_people
from .results_page import ORDERS, page_of_results
from .space import draw_people_3d
from .strokes import EDGE, PAPER, draw_tag, draw_text, text_width
from .video import VideoDrawer, draw_legend

__all__ = [
    "CONFIDENT",
    "EDGE",
    "ORDERS",
    "PAPER",
    "PERSON_COLOURS",
    "PRESENT",
    "SIDE_COLOURS",
    "VideoDrawer",
    "contact_sheet",
    "draw_legend",
    "draw_people",
    "draw_people_3d",
    "draw_tag",
    "draw_text",
    "page_of_results",
    "side_by_side",
    "text_width",
]

"""What ``rle-onestage demo`` does: people in images, videos, cameras and streams, drawn, shown, and written."""

from .images import image_ids, run_images
from .options import DemoOptions
from .video import run_video

__all__ = ["DemoOptions", "image_ids", "run_images", "run_video"]

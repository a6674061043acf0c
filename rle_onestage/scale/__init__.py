"""People of many images: shards, tables, folders and weeks of video in, Parquet files out, by one process or by Ray.

The engine is Ray Data (the extra ``ray``), or this process. See ``docs/scale.md``.
"""

from .cost import Estimate, Machine, estimate, format_estimates, most_actors, write_rate
from .engines import RayOptions
from .job import JobOptions, predict
from .models import ModelChoice
from .progress import Summary, read_summary

__all__ = [
    "Estimate",
    "JobOptions",
    "Machine",
    "ModelChoice",
    "RayOptions",
    "Summary",
    "estimate",
    "format_estimates",
    "most_actors",
    "predict",
    "read_summary",
    "write_rate",
]

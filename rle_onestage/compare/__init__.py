"""The same config under several losses and seeds: trained, evaluated, and compared."""

from .jobs import work_off
from .runs import LOSSES, plan

__all__ = ["LOSSES", "plan", "work_off"]

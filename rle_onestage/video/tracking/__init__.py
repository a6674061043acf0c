"""People in video: identities, and joints that do not jitter."""

from .pose_tracker import PoseTracker
from .tracker import Tracker, TrackerOptions

__all__ = ["PoseTracker", "Tracker", "TrackerOptions"]

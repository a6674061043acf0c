"""YOLO-pose data sets (Ultralytics' format): read in COCO's form, so that all else sees no difference, and written.

The format, and what Ultralytics makes of it, were read in its ``data/utils.py`` and ``models/yolo/pose/val.py``.
No library stands behind this. Datumaro 1.13 takes Pillow, OpenCV and pandas back to older versions and brings pyarrow
and more. Ultralytics' converter is AGPL and goes one way. supervision's data sets have boxes and masks, no joints.
"""

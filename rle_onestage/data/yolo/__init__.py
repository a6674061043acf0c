"""YOLO-pose data sets (Ultralytics' format): read in COCO's form, so that all else sees no difference, and written.

The format, and what Ultralytics makes of it, were read in its ``data/utils.py`` and ``models/yolo/pose/val.py``.
No library reads it whole: Datumaro 1.13's YOLO formats know no joints, and it wants Pillow and pandas of other versions
than this package runs with. supervision 0.31 reads the boxes and drops the joints. Ultralytics' converter is AGPL and
goes one way.
"""

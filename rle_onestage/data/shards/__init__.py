"""Data sets that lie in shards: their labels in COCO's form, whether their images are there, and writing them."""

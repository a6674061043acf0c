"""Sets of other joints, and of people that can be cut out."""

from data_toys import person, toy_content

LIMBS = ["neck", "LWri", "r_wrist", "Left Ankle"]


def limbs_content(number=4, **fields):
    """Images of one person with four joints of other names and order."""
    content = toy_content(number)
    content["categories"][0].update(keypoints=LIMBS, skeleton=[])
    for annotation in content["annotations"]:
        annotation.update(keypoints=[20, 21, 2, 22, 23, 2, 24, 25, 2, 0, 0, 0], num_keypoints=3, **fields)
    return content


def with_polygons(content):
    """The content with a segment, the box, for each person, in images that are large enough to cut people out of."""
    for image in content["images"]:
        image.update(height=160, width=200)
    for annotation in content["annotations"]:
        x, y, w, h = annotation["bbox"] = [60, 30, 50, 90]
        fresh = person(1, 0, box=(x, y, w, h))["keypoints"]
        fresh[2::3] = [2] * 17
        annotation.update(keypoints=fresh, area=w * h, segmentation=[[x, y, x + w, y, x + w, y + h, x, y + h]])
    return content

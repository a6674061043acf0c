"""Small files in the layout of Human3.6M's annotations, without any of its data."""

import json

import numpy as np

CAMERAS = {
    "1": {"R": np.eye(3).tolist(), "t": [0, 0, 5000.0], "f": [1145.0, 1143.0], "c": [512.0, 515.0]},
    "2": {"R": [[0, 0, -1], [0, 1, 0], [1, 0, 0]], "t": [100.0, 0, 5500.0], "f": [1149.0, 1147.0], "c": [508.0, 508.0]},
}
ACTIONS = (4, 14)  # Eating, Walking
FRAMES = (0, 5, 64)


def world(subject, action, frame):
    """(17, 3) joints in millimetres, upright: y down, so that a turned camera needs no tilt."""
    rng = np.random.default_rng([subject, action, frame])
    heights = [0, 0, 450, 880, 0, 450, 880, -250, -500, -600, -700, -480, -250, 0, -480, -250, 0]
    sides = [0, -110, -110, -110, 110, 110, 110, 0, 0, 0, 0, 180, 220, 230, -180, -220, -230]
    return np.column_stack([sides, heights, np.zeros(17)]) + rng.normal(0, 40, (17, 3))


def subject_files(subject):
    """The contents of a subject's data, camera and joint_3d files."""
    images, annotations = [], []
    joints = {str(a): {"1": {str(f): world(subject, a, f).tolist() for f in FRAMES}} for a in ACTIONS}
    for action in ACTIONS:
        for camera in CAMERAS:
            for frame in FRAMES[:2]:
                folder = f"s_{subject:02d}_act_{action:02d}_subact_01_ca_{int(camera):02d}"
                number = len(images) + 1
                images.append({
                    "id": number, "file_name": f"{folder}/{folder}_{frame + 1:06d}.jpg", "width": 1000, "height": 1002,
                    "subject": subject, "action_idx": action, "subaction_idx": 1, "cam_idx": int(camera),
                    "frame_idx": frame,
                })  # fmt: skip
                annotations.append({"id": number, "image_id": number, "category_id": 1, "bbox": [300, 200, 400, 600]})
    data = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "human"}]}
    return data, CAMERAS, joints


def write_h36m(root, subjects=(1, 5, 6, 7, 8, 9, 11)):
    """Write the files of subjects below ``Human36M``; images are not needed where nothing reads them."""
    folder = root / "Human36M" / "annotations"
    folder.mkdir(parents=True)
    (root / "Human36M" / "images").mkdir()
    for subject in subjects:
        for ending, part in zip(("data", "camera", "joint_3d"), subject_files(subject)):
            (folder / f"Human36M_subject{subject}_{ending}.json").write_text(json.dumps(part))
    return folder

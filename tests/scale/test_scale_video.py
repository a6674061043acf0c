"""Videos in pieces: the rows and the identities of one pass, also after an interruption."""

import os

import cv2
import numpy as np
import pytest
from media_toys import encode
from scale_toys import Toy, killed_while_tracking, rows_in, use

from rle_onestage.evaluation.people_parquet import instances_of, read_parts
from rle_onestage.scale import JobOptions, predict
from rle_onestage.scale import reading as reading_module
from rle_onestage.structures.skeleton import COCO
from rle_onestage.video.io import VideoReader
from rle_onestage.video.tracking import PoseTracker

pytest.importorskip("pyarrow")


class Walkers(Toy):
    """Two people who walk towards each other; their places are read off the frame, so that they belong to it."""

    def person(self, image):
        from detectron2.structures import Instances

        step = round(float(image[:8, :8].mean()) / 6)
        parts = []
        for place, score in ((40 + 2 * step, 0.9), (150 - 2 * step, 0.8)):
            marked = super().person(np.full_like(image, 0))
            marked.pred_boxes.tensor[:, [0, 2]] += place
            marked.pred_keypoints[..., 0] += place
            marked.scores[:] = score
            parts.append(marked)
        return Instances.cat(parts)


def frame(number, size):
    """A frame that tells its number."""
    image = np.full((size[1], size[0], 3), 60, np.uint8)
    cv2.rectangle(image, (0, 0), (15, 15), (6 * number,) * 3, -1)
    return image


@pytest.fixture
def clip(tmp_path):
    encode(tmp_path / "clip.mp4", frames=30, size=(64, 48), image=frame)  # a key frame every 4
    return str(tmp_path / "clip.mp4")


def one_pass(clip):
    """Times and identities that the demo's way gives."""
    tracker, model, found = PoseTracker(COCO, smooth=False), Walkers(), []
    with VideoReader(clip) as video:
        for each in video:
            (people,) = model.batch([each.image])
            shown = tracker(people, each.time)
            order = shown.pred_boxes.tensor[:, 0].tolist()
            found.append((each.number, each.time, dict(zip(order, shown.ID.tolist()))))
    return found


def in_pieces(output):
    found = []
    for table, _ in read_parts(output):
        people = instances_of(table["people"], [(48, 64)] * len(table), 17)
        for row, each in zip(table.to_pylist(), people):
            shown = each.track > 0
            ids = dict(zip(each.pred_boxes.tensor[shown, 0].tolist(), each.track[shown].tolist()))
            found.append((row["index"], row["time"], ids))
    return found


def test_pieces_have_the_rows_and_the_identities_of_one_pass(tmp_path, clip, monkeypatch):
    use(monkeypatch, Walkers())
    summary = predict([clip], output=str(tmp_path / "out"), options=JobOptions(rows=8))
    assert summary.images == 30 and len(os.listdir(tmp_path / "out")) == 4 + 2  # four pieces, the plan, the summary
    expected = one_pass(clip)
    assert in_pieces(tmp_path / "out") == expected
    assert {identity for *_, ids in expected for identity in ids.values()} == {1, 2}


def test_an_interrupted_tracker_begins_its_video_anew(tmp_path, clip, monkeypatch):
    toy = use(monkeypatch, Walkers())
    with killed_while_tracking():
        predict([clip], output=str(tmp_path / "out"), options=JobOptions(rows=8))
    assert len([name for name in os.listdir(tmp_path / "out") if name.endswith(".parquet")]) == 2
    seen = len(toy.batches)
    summary = predict([clip], output=str(tmp_path / "out"), options=JobOptions(rows=8))
    assert len(toy.batches) == seen and summary.computed == 0  # the frames were not looked at again
    assert in_pieces(tmp_path / "out") == one_pass(clip)
    assert not (tmp_path / "out" / "_frames").exists()
    (tmp_path / "out" / "_frames").mkdir()  # as a call leaves it that is killed at its very end
    (tmp_path / "out" / "_frames" / "part-000000.parquet").write_bytes(b"")
    predict([clip], output=str(tmp_path / "out"), options=JobOptions(rows=8))
    assert in_pieces(tmp_path / "out") == one_pass(clip)
    assert not (tmp_path / "out" / "_frames").exists()


def test_videos_beside_images_and_broken_ones(tmp_path, clip, monkeypatch):
    use(monkeypatch, Walkers())
    (tmp_path / "broken.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + b"x" * 300)
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((48, 64, 3), np.uint8))
    with open(clip, "rb") as file:
        (tmp_path / "half.ts").write_bytes(file.read()[:200])
    summary = predict([str(tmp_path)], output=str(tmp_path / "out"), options=JobOptions(rows=8, max_errors=0.4))
    rows = rows_in(tmp_path / "out")
    assert summary.errors == 2 and not summary.failed and len(rows) == 33
    assert (summary.lost, summary.holders) == (2, 6) and summary._replace(max_errors=0.1).failed
    errors = {os.path.basename(row["path"]): row["error"] for row in rows if row["error"]}
    assert set(errors) == {"broken.mp4", "half.ts"} and all("cannot be opened" in text for text in errors.values())
    assert [row["time"] for row in rows if row["path"].endswith("a.png")] == [None]


@pytest.mark.parametrize("reason", ["", "it broke off"])
def test_frames_that_vanish_from_a_middle_piece_are_told(tmp_path, clip, monkeypatch, reason):
    class Broken(reading_module.ChunkSource):
        """Gives three frames of the second of four pieces."""

        def _decode(self):
            for number, each in enumerate(super()._decode()):
                if self.chunk.start is not None and len(pieces) == 1 and number == 3:
                    self.reason = reason
                    break
                yield each
            pieces.append(self.chunk)

    pieces = []
    use(monkeypatch, Walkers())
    monkeypatch.setattr(reading_module, "ChunkSource", Broken)
    summary = predict([clip], output=str(tmp_path / "out"), options=JobOptions(rows=8, max_errors=0.2))
    rows = rows_in(tmp_path / "out")
    told = "3 of 8 frames could be read" + "; reading stopped (it broke off)" * bool(reason)
    assert [row["error"] for row in rows if row["error"]] == [told] and rows[11]["error"] == told
    assert (summary.lost, summary.holders) == (1, 4) and summary.failed and summary.errors < 0.2 * summary.images

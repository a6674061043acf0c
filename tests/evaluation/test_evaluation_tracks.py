"""People in videos as JSON lines, and back."""

import json
import os

import numpy as np
import pytest
import torch
from media_toys import no_more_than, one_person

from rle_onestage.errors import DataError, MediaError
from rle_onestage.evaluation import TrackWriter, read_tracks
from rle_onestage.evaluation.results import PIXEL_CENTRE

IMAGE = np.zeros((48, 64, 3), np.uint8)


def people(*ids):
    found = one_person(IMAGE)[: len(ids)]
    found.ID = torch.tensor(ids)
    return found


def written(path, frames):
    with TrackWriter(str(path), {"source": "a.mp4", "keypoints": ["x"] * 17}) as writer:
        for number, found in enumerate(frames):
            writer.write(found, number, number / 10)
    return str(path)


def test_round_trip(tmp_path):
    first = people(7, 8)
    first.pred_keypoint_sigmas[0, 3] = float("nan")
    tracks = read_tracks(written(tmp_path / "new" / "t.jsonl", [first, people(), people(8)]))
    assert os.listdir(tmp_path / "new") == ["t.jsonl"]
    assert tracks.frame.tolist() == [0, 0, 2] and tracks.track_id.tolist() == [7, 8, 8] and tracks.ids == [7, 8]
    assert tracks.time.tolist() == [0, 0, 0.2] and tracks.frames == 3 and tracks.header["source"] == "a.mp4"
    assert np.allclose(tracks.boxes[0], first.pred_boxes.tensor[0]) and np.allclose(tracks.scores, [0.9, 0.1, 0.9])
    expected = first.pred_keypoints[0].numpy() - [PIXEL_CENTRE, PIXEL_CENTRE, 0]
    assert np.allclose(tracks.keypoints[0], expected, atol=1e-3)
    assert np.isnan(tracks.sigmas[0, 3]).all() and (tracks.sigmas[1] == 1).all() and tracks.sigmas.shape == (3, 17, 2)
    assert np.isnan(tracks.covariances).all()  # as in files of earlier versions
    turned = people(8)
    turned.pred_keypoint_covariances = torch.tensor([[4.0, -1.5], [-1.5, 9.0]]).expand(len(turned), 17, 2, 2)
    path = written(tmp_path / "t", [turned])
    assert (read_tracks(path).covariances == [[4, -1.5], [-1.5, 9]]).all() and "[4.0, -1.5, 9.0, " in open(path).read()
    track = tracks.track(8)
    assert track.frame.tolist() == [0, 2] and track.keypoints.shape == (2, 17, 3) and track.header == tracks.header
    with pytest.raises(DataError, match="nobody has the identity 3; `ids` has 7, 8"):
        tracks.track(3)


def test_people_who_are_not_tracked_and_no_people(tmp_path):
    tracks = read_tracks(written(tmp_path / "t", [one_person(IMAGE)]))
    assert tracks.track_id.tolist() == [-1, -1] and tracks.ids == []
    with pytest.raises(DataError, match="nobody has the identity 1; `ids` has none"):
        tracks.track(1)
    nobody = read_tracks(written(tmp_path / "t", [one_person(IMAGE)[:0]]))
    assert nobody.boxes.shape == (0, 4) and nobody.keypoints.shape == (0, 17, 3) and nobody.frames == 1


def test_who_is_predicted_is_told_also_by_files_of_earlier_versions(tmp_path):
    group = people(1, 2)
    group.predicted = torch.tensor([False, True])
    path = written(tmp_path / "t", [group, people(1)])
    assert read_tracks(path).predicted.tolist() == [False, True, False]
    (tmp_path / "old").write_text(open(path).read().replace('"predicted"', '"carried"'))
    assert read_tracks(tmp_path / "old").predicted.tolist() == [False, True, False]
    (tmp_path / "bad").write_text(open(path).read().replace('"predicted": true', '"carried": 1'))
    with pytest.raises(DataError, match="'predicted' that is neither true nor false"):
        read_tracks(tmp_path / "bad")


def test_lines_are_on_the_disk_while_it_runs_and_half_a_line_is_left_out(tmp_path, caplog):
    writer = TrackWriter(str(tmp_path / "t"), {})
    writer.write(people(1, 2), 0, 0.0)
    (unfinished,) = os.listdir(tmp_path)
    data = (tmp_path / unfinished).read_bytes()
    assert data.count(b"\n") == 3
    (tmp_path / "killed").write_bytes(data[:-40])
    writer.close()
    tracks = read_tracks(tmp_path / "killed")
    assert tracks.track_id.tolist() == [1] and tracks.frames is None and "line 3 was cut off" in caplog.text


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda line: line[:50], "line 2 is no JSON"),
        (lambda line: "[1]", "line 2 has no usable 'frame'"),
        (lambda line: line.replace('"bbox": [', '"bbox": [1, '), "line 2 .*'bbox'"),
        (lambda line: line.replace('"score": ', '"score": "much", "x": '), "line 2 .*'score'"),
        (lambda line: line.replace('"keypoints": [', '"keypoints": [1, '), "line 2 .*52 numbers"),
        (lambda line: line.replace('"track_id": 1', '"track_id": "a"'), "line 2 .*'track_id'"),
        (lambda line: line.replace('"keypoint_sigmas": [', '"keypoint_sigmas": [1, '), "line 2 .*34 numbers"),
        (lambda line: line.replace('"frame"', '"keypoint_covariances": [1, 2], "frame"'), "line 2 .*51 numbers"),
        (lambda line: json.dumps({**json.loads(line), "time": None}), "line 2 .*'time'"),
    ],
)
def test_a_bad_line_is_named(tmp_path, change, message):
    path = written(tmp_path / "t.jsonl", [people(1), people(2)])
    lines = open(path).read().splitlines()
    lines[1] = change(lines[1])
    (tmp_path / "t.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=f"t.jsonl, {message}"):
        read_tracks(path)


def test_a_missing_file_and_one_of_another_kind(tmp_path):
    with pytest.raises(DataError, match="none cannot be read"):
        read_tracks(tmp_path / "none")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\n")
    with pytest.raises(DataError, match="binary, line 1"):
        read_tracks(tmp_path / "binary")


def test_a_full_disk_leaves_whole_lines(tmp_path):
    path = str(tmp_path / "t.jsonl")
    with no_more_than(5000), pytest.raises(MediaError, match="after [0-9]+ frames, which stay"):
        written(path, [people(1)] * 50)
    assert os.listdir(tmp_path) == ["t.jsonl"] and open(path).read().endswith("}\n")
    assert 0 < len(read_tracks(path).frame) < 10


def test_a_folder_in_its_place(tmp_path):
    with pytest.raises(MediaError, match="it is a folder"):
        TrackWriter(str(tmp_path), {})

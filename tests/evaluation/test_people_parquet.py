"""People as Parquet, and back: bit for bit, and with the COCO results that evaluate writes."""

import json

import numpy as np
import pytest
import torch
from interop_people import random_people

from rle_onestage.errors import DataError
from rle_onestage.evaluation import instances_to_coco, read_results
from rle_onestage.evaluation.people_parquet import (
    METADATA,
    Row,
    instances_of,
    labels_from_parquet,
    part_files,
    results_from_parquet,
    schema,
    table_of,
    write_coco_results,
)
from rle_onestage.evaluation.result_files import Labels
from rle_onestage.labelling import compare_files
from rle_onestage.structures.skeleton import COCO

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
FIELDS = (
    "scores", "pred_classes", "pred_keypoints", "pred_keypoint_sigmas", "pred_keypoint_covariances",
    "pred_keypoint_presence", "pred_keypoint_visibility",
)  # fmt: skip


def people_with_tracks(number, seed=0):
    people = random_people(number, 17, seed, leave_out=("ID", "predicted"))
    people.pred_score_factors = torch.rand(number, 3, generator=torch.Generator().manual_seed(seed))
    people.pred_areas = torch.rand(number, generator=torch.Generator().manual_seed(seed))
    return people


ROWS = [
    Row("a/000139.jpg", size=(480, 640), people=people_with_tracks(3)),
    Row("a/000285.jpg", error="it is damaged"),
    Row("a/000632.jpg", size=(480, 640), people=people_with_tracks(0)),
    Row("a/000724.jpg", 4, 0.16, (480, 640), None, people_with_tracks(2, 1), np.array([7, 0])),
]


def written(folder, rows=ROWS, name="part-000000.parquet", **metadata):
    made = {"joints": ["j"] * 17, "category_id": 1, **metadata}
    table = table_of(rows, "people", "0.2.0+abc").replace_schema_metadata(schema(made).metadata)
    folder.mkdir(exist_ok=True)
    parquet.write_table(table, folder / name)
    return folder / name


@pytest.mark.parametrize("rows", [ROWS, ROWS[1:3], ROWS[1:2]], ids=["all", "nobody", "errors"])
def test_people_come_back_bit_for_bit(tmp_path, rows):
    table = parquet.read_table(written(tmp_path / "out", rows))
    assert json.loads(table.schema.metadata[METADATA])["category_id"] == 1
    found = instances_of(table["people"], [(480, 640)] * len(rows), 17)
    for row, people in zip(rows, found):
        if row.people is None:
            assert len(people) == 0
            continue
        assert torch.equal(people.pred_boxes.tensor, row.people.pred_boxes.tensor)
        assert not len(people) or all(torch.equal(people.get(name), row.people.get(name)) for name in FIELDS)
        assert people.track.tolist() == ([0] * len(people) if row.tracks is None else row.tracks.tolist())
    assert table["error"].to_pylist() == [row.error for row in rows]
    assert table["people"].is_null().to_pylist() == [row.error is not None for row in rows]


def test_a_slice_of_a_table_is_read_as_such(tmp_path):
    table = parquet.read_table(written(tmp_path / "out"))[3:]
    (people,) = instances_of(table["people"], [(480, 640)], 17)
    assert torch.equal(people.pred_keypoints, ROWS[3].people.pred_keypoints)


def test_models_without_some_fields_have_nulls_there(tmp_path):
    plain = random_people(2, 5, leave_out=("ID", "predicted", "pred_keypoint_presence", "pred_keypoint_visibility"))
    table = parquet.read_table(written(tmp_path / "out", [Row("a.jpg", size=(9, 9), people=plain)]))
    person = table["people"].to_pylist()[0][0]
    assert person["presence"] is None and person["track"] is None and len(person["keypoints"]) == 5
    (people,) = instances_of(table["people"], [(9, 9)], 5)
    assert not people.has("pred_keypoint_presence") and torch.equal(people.pred_keypoints, plain.pred_keypoints)


def test_coco_results_are_those_of_the_instances(tmp_path):
    written(tmp_path / "out")
    expected = [
        [] if row.people is None else instances_to_coco(row.people, key) for row, key in zip(ROWS, (139, 285, 632, 724))
    ]
    found = list(results_from_parquet(tmp_path / "out"))
    assert found[3][0].pop("track_id") == 7
    assert [[{**r, "file_name": "x"} for r in rows] for rows in found] == [
        [{**r, "file_name": "x"} for r in rows] for rows in expected
    ]
    assert write_coco_results(tmp_path / "out", str(tmp_path / "out.json")) == 5
    everybody = [result for rows in results_from_parquet(tmp_path / "out") for result in rows]
    assert json.loads((tmp_path / "out.json").read_text()) == everybody
    assert [r["image_id"] for r in read_results(tmp_path / "out")] == [139, 139, 139, 724, 724]


def test_ids_of_images_with_one_name_are_their_places(tmp_path):
    rows = [Row(f"{folder}/1.jpg", size=(480, 640), people=people_with_tracks(1)) for folder in "ab"]
    written(tmp_path / "out", rows)
    assert [r[0]["image_id"] for r in results_from_parquet(tmp_path / "out")] == [1, 2]
    rows = [Row(name, size=(480, 640), people=people_with_tracks(1)) for name in ("x.jpg", "y.jpg")]
    written(tmp_path / "names", rows)
    assert [r[0]["image_id"] for r in results_from_parquet(tmp_path / "names")] == ["x", "y"]


def found_in(tmp_path, names, labelled):
    """Ids that results of images get, by labels of id -> file name."""
    rows = [Row(name, size=(480, 640), people=people_with_tracks(1)) for name in names]
    written(tmp_path / "out", rows)
    labels = Labels("labels.json", {i: {"id": i, "file_name": name} for i, name in labelled.items()}, 17)
    return [result["image_id"] for result in read_results(tmp_path / "out", labels=labels)]


def test_results_are_of_the_images_of_their_names_whatever_their_ids(tmp_path):
    names = [f"{n}.jpg" for n in range(1, 13)]
    labelled = dict(enumerate(sorted(names), start=1))
    assert [labelled[i] for i in found_in(tmp_path, names, labelled)] == names
    assert found_in(tmp_path, ["in/a/1.jpg", "in/b/1.jpg"], {1: "b/1.jpg", 2: "a/1.jpg"}) == [2, 1]
    assert found_in(tmp_path, ["in/1.png"], {1: "2.jpg", 2: "1.jpg"}) == [2]  # stored anew
    with pytest.raises(DataError, match=r"result 1 is of 'in/1.jpg', which may be image 1 or 2 of labels.json; write"):
        found_in(tmp_path, ["in/1.jpg"], {1: "b/1.jpg", 2: "a/1.jpg"})
    with pytest.raises(DataError, match=r"1 of 2 results are of images that labels.json does not have"):
        found_in(tmp_path, ["1.jpg", "2.jpg"], {1: "1.jpg", 2: "3.jpg"})


def test_people_are_compared_as_labels(tmp_path):
    """Everybody of the model against the labels that say the same: all joints agree."""
    people = people_with_tracks(3)
    people.scores = torch.tensor([0.9, 0.8, 0.2])
    people.pred_keypoint_presence[0, :3], people.pred_keypoint_presence[0, 3:] = 0.1, 0.9
    people.pred_keypoint_visibility[0, 3:5] = torch.tensor([0.1, 0.9])
    rows = [Row("a/000139.jpg", size=(480, 640), people=people), ROWS[1]]
    written(tmp_path / "out", rows, joints=list(COCO.names))
    labels = labels_from_parquet(tmp_path / "out")
    assert [(image["id"], image["file_name"], image["width"]) for image in labels["images"]] == [
        (139, "000139.jpg", 640)
    ]
    assert [label["score"] for label in labels["annotations"]] == pytest.approx([0.9, 0.8])
    joints = np.array(labels["annotations"][0]["keypoints"]).reshape(-1, 3)
    assert joints[:5, 2].tolist() == [0, 0, 0, 1, 2] and not joints[:3].any()
    (tmp_path / "truth.json").write_text(json.dumps(labels))
    compared = compare_files([str(tmp_path / "out")], str(tmp_path / "truth.json"))
    assert compared.precision == 1.0


def test_foreign_and_damaged_files_are_named(tmp_path):
    file = written(tmp_path / "out")
    (tmp_path / "out" / "_hidden.parquet").write_bytes(b"")
    assert part_files(tmp_path / "out") == [str(file)]
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"part-000000.parquet cannot be read as Parquet"):
        list(results_from_parquet(tmp_path / "out"))
    parquet.write_table(pa.table({"a": [1]}), file)
    with pytest.raises(DataError, match="has no column `path`"):
        read_results(tmp_path / "out")

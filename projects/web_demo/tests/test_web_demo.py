"""The page in a headless browser: finds the people of an image, and says what is missing."""

import shutil

import cv2
import pytest
from browser_pages import WEB_DEMO, copy_runtime, node_modules, seen_on
from exported_people import ROOT, exported

from rle_onestage.export import load

# People, and how much of the canvas has the orange of right limbs, at two thresholds.
LOOK = """(() => {
  const pixels = () => {
    const { width, height } = page.canvas, data = page.canvas.getContext("2d").getImageData(0, 0, width, height).data;
    const orange = at => data[at] > 240 && Math.abs(data[at + 1] - 128) < 12 && data[at + 2] < 60;
    let count = 0;
    for (let at = 0; at < data.length; at += 4) count += orange(at);
    return count / (width * height);
  };
  const noses = people.map(each => [each.joints[0].x, each.joints[0].y]);
  const seen = {};
  for (const threshold of ["0.28", "0.95"]) {
    page.threshold.value = threshold;
    page.threshold.dispatchEvent(new Event("input"));
    seen[threshold] = [page.status.textContent, pixels()];
  }
  return { scores: people.map(each => each.score), noses, seen, names: about.joint_names, time: page.time.textContent };
})()"""


@pytest.fixture
def folder(tmp_path):
    """What a user puts together: the page, the runtime, the model and an image."""
    node_modules()
    copy_runtime(tmp_path)
    for file in (WEB_DEMO / "index.html", exported()):
        shutil.copy(file, tmp_path)
    image = cv2.imread(str(ROOT / "datasets" / "examples" / "skiers.jpg"))
    cv2.imwrite(str(tmp_path / "a.png"), image)
    return tmp_path


def test_the_page_finds_the_people_of_an_image(folder):
    found = seen_on(folder, "index.html?image=a.png", LOOK)
    predictor = load(str(exported()))
    people = predictor(cv2.imread(str(folder / "a.png")))
    number = int((people.scores >= 0.28).sum())
    assert found["names"] == list(predictor.skeleton.names) and found["time"].endswith("ms for 640 × 360 pixels")
    assert found["scores"] == pytest.approx(people.scores.tolist(), abs=1e-3)
    for nose, joints in zip(found["noses"][:number], people.pred_keypoints):
        assert nose == pytest.approx(joints[0, :2].tolist(), abs=0.1)
    (many, drawn), (none, clean) = found["seen"]["0.28"], found["seen"]["0.95"]
    assert many == f"{number} people" and none == "0 people" and drawn > 10 * max(clean, 1e-4)


def test_the_page_says_what_is_missing(folder):
    assert "other.onnx is missing" in seen_on(folder, "index.html?model=other.onnx", "page.status.textContent")
    (folder / "people.onnx").write_bytes(b"\x08\x08")
    assert "people.onnx was not written by rle-onestage export" in seen_on(
        folder, "index.html", "page.status.textContent"
    )
    (folder / "ort.wasm.min.js").unlink()
    assert "ort.wasm.min.js is missing" in seen_on(folder, "index.html", "page.status.textContent")

"""Files that Ultralytics exports, from an image to people, without Ultralytics."""

import os
from collections.abc import Callable

import cv2
import numpy as np

from rle_onestage.errors import MediaError

_GREY = 114  # of the border, as Ultralytics pads
_SCORE, _OVERLAP = 0.25, 0.7  # its defaults for boxes that are kept
_MOST = 300

Tensors = Callable[[np.ndarray], np.ndarray]


class Peer:
    """A YOLO-pose file.

    Args:
        path: an ONNX file, or a folder of OpenVINO.
        threads: of the runtime.

    Raises:
        MediaError: it is neither.
    """

    def __init__(self, path: str, threads: int):
        self.side, self.run = _onnx(path, threads) if path.endswith(".onnx") else _openvino(path, threads)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """People (N, C) of an image (H, W, 3) uint8 BGR: a row of box, score and joints each, in its pixels."""
        height, width = image.shape[:2]
        scale = self.side / max(height, width)
        rows, columns = round(height * scale), round(width * scale)
        canvas = np.full((self.side, self.side, 3), _GREY, np.uint8)
        canvas[:rows, :columns] = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_LINEAR)
        found = self.run(cv2.dnn.blobFromImage(canvas, 1 / 255, swapRB=True))[0]
        found = found if found.shape[0] == _MOST else _suppressed(found.T)
        found = found[found[:, 4] > _SCORE]
        found[:, :4] /= scale
        return found


def _suppressed(found: np.ndarray) -> np.ndarray:
    """Of all cells (R, C), centres and sizes of boxes first, the people that remain, corners of boxes first."""
    found = found[found[:, 4] > _SCORE]
    found[:, :2] -= found[:, 2:4] / 2
    kept = cv2.dnn.NMSBoxes(found[:, :4].tolist(), found[:, 4].tolist(), _SCORE, _OVERLAP)
    found = found[np.asarray(kept, np.int64)[:_MOST]]
    found[:, 2:4] += found[:, :2]
    return found


def _onnx(path: str, threads: int) -> tuple[int, Tensors]:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.log_severity_level = threads, 3
    # As ours: else its threads take a core from OpenCV, which resizes the next image.
    settings.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    name, side = session.get_inputs()[0].name, session.get_inputs()[0].shape[-1]
    return int(side), lambda tensor: session.run(None, {name: tensor})[0]


def _openvino(path: str, threads: int) -> tuple[int, Tensors]:
    import openvino

    files = [name for name in os.listdir(path) if name.endswith(".xml")] if os.path.isdir(path) else []
    if len(files) != 1:
        raise MediaError(f"{path} is no folder of OpenVINO; give what Ultralytics exports, or an ONNX file")
    settings = {
        "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": str(threads),
    }  # fmt: skip
    core = openvino.Core()
    request = core.compile_model(core.read_model(os.path.join(path, files[0])), "CPU", settings).create_infer_request()
    side = request.model_inputs[0].shape[-1]
    return int(side), lambda tensor: np.array(request.infer([tensor])[0])

"""Reads the text off a photograph: a Triton python-backend model over three ONNX models run by onnxruntime.

Detection finds quadrilaterals of text, a classifier turns those that stand on their head (where the variant has one),
recognition reads each. The networks are PaddleOCR's PP-OCRv4 as converted and shipped by RapidOCR; sizes, thresholds
and normalisation are those of rapidocr-onnxruntime 1.4.4, except that a picture is only ever scaled down before
detection: memory then has a bound that the variant's slice can be sized by.

Input IMAGE: the bytes of one JPEG or PNG file. Outputs, one entry for each text in reading order: TEXT, SCORE (mean
probability of its characters, 0 to 1) and BOX (corners in pixels of the picture, clockwise from the text's top left).
Parameters in config.pbtxt: `longest_side` (pixels, what detection sees), `threads` (of each network).
"""

from __future__ import annotations

import json
import os
from pathlib import Path

# A small file can unpack to gigabytes; OpenCV reads this limit when it is imported.
os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(25_000_000)

import cv2
import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils
from detection import TextDetector, crop
from postprocess import reading_order
from recognition import DirectionClassifier, TextRecogniser

MIN_TEXT_SCORE = 0.5
"""A text whose characters are less probable than this in the mean is noise."""


class InvalidImageError(Exception):
    """IMAGE holds no picture."""


class TritonPythonModel:
    """What the python backend loads: one instance, one request after the other."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the networks that lie beside this file; Triton reports the model ready when this returns."""
        parameters = json.loads(args["model_config"])["parameters"]
        folder = Path(__file__).parent
        threads = int(parameters["threads"]["string_value"])
        self._detect = TextDetector(
            _session(folder / "detection.onnx", threads), int(parameters["longest_side"]["string_value"])
        )
        self._recognise = TextRecogniser(_session(folder / "recognition.onnx", threads))
        # The compact variant goes without: its camera does not hang upside down.
        direction = folder / "direction.onnx"
        self._upright = DirectionClassifier(_session(direction, threads)) if direction.exists() else None

    def execute(self, requests: list[pb_utils.InferenceRequest]) -> list[pb_utils.InferenceResponse]:
        """Answer each request by itself: a file that is no picture fails its own request only."""
        return [self._respond(request) for request in requests]

    def _respond(self, request: pb_utils.InferenceRequest) -> pb_utils.InferenceResponse:
        try:
            image = _decode(pb_utils.get_input_tensor_by_name(request, "IMAGE").as_numpy())
        except InvalidImageError as error:
            return pb_utils.InferenceResponse(
                error=pb_utils.TritonError(str(error), code=pb_utils.TritonError.INVALID_ARG)
            )
        texts, scores, boxes = self.read(image)
        return pb_utils.InferenceResponse(
            [
                pb_utils.Tensor("TEXT", np.array([text.encode() for text in texts], dtype=np.object_)),
                pb_utils.Tensor("SCORE", np.array(scores, dtype=np.float32)),
                pb_utils.Tensor("BOX", np.array(boxes, dtype=np.float32).reshape(-1, 4, 2)),
            ]
        )

    def read(self, image: np.ndarray) -> tuple[list[str], list[float], list[np.ndarray]]:
        """Return texts, scores and boxes of a picture (rows, columns, BGR), in reading order."""
        boxes = reading_order(self._detect(image))
        crops = [crop(image, box) for box in boxes]
        if self._upright is not None:
            crops = self._upright(crops)
        found = [
            (text, score, box)
            for (text, score), box in zip(self._recognise(crops), boxes, strict=True)
            if text and score >= MIN_TEXT_SCORE
        ]
        return [text for text, _, _ in found], [score for _, score, _ in found], [box for _, _, box in found]


def _decode(data: np.ndarray) -> np.ndarray:
    """Return the picture as rows of BGR pixels, turned as its EXIF data says."""
    try:
        image = cv2.imdecode(data.reshape(-1), cv2.IMREAD_COLOR)
    except cv2.error:  # no bytes at all, or more pixels than the limit
        image = None
    if image is None:
        raise InvalidImageError(f"IMAGE ({data.size} bytes) is no JPEG or PNG picture of at most 25 megapixels")
    return image


def _session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Pictures differ in size: an arena would keep the largest ever seen, and the slice pays for it.
    options.enable_cpu_mem_arena = False
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

"""What a straightened crop says, and whether it stands on its head: the two networks that see one line of text."""

import math

import cv2
import numpy as np
import onnxruntime
from detection import normalise
from postprocess import alphabet, ctc_decode

HEIGHT = 48
"""Of a line of text, in pixels, for both networks."""
MIN_WIDTH = 320
MAX_WIDTH = 40 * HEIGHT
"""Wider lines are squeezed, which bounds the memory that one picture can take."""
BATCH = 6
DIRECTION_WIDTH = 192
UPSIDE_DOWN = 1
"""The class of the direction network that says 180 degrees."""
DIRECTION_THRESHOLD = 0.9


class DirectionClassifier:
    """Turns lines of text that stand on their head."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session
        self._input = session.get_inputs()[0].name

    def __call__(self, crops: list[np.ndarray]) -> list[np.ndarray]:
        """Return the crops, those turned by 180 degrees that the network is sure about."""
        upright = []
        for start in range(0, len(crops), BATCH):
            some = crops[start : start + BATCH]
            batch = np.stack([line(crop, DIRECTION_WIDTH) for crop in some])
            scores = self._session.run(None, {self._input: batch})[0][:, UPSIDE_DOWN]
            upright += [
                np.rot90(crop, 2) if score > DIRECTION_THRESHOLD else crop
                for crop, score in zip(some, scores, strict=True)
            ]
        return upright


class TextRecogniser:
    """Reads lines of text."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session
        self._input = session.get_inputs()[0].name
        self._characters = alphabet(session.get_modelmeta().custom_metadata_map["character"])

    def __call__(self, crops: list[np.ndarray]) -> list[tuple[str, float]]:
        """Return text and score of each crop, in their order."""
        # Lines of like length share a batch, which is as wide as its longest.
        by_length = sorted(range(len(crops)), key=lambda index: _width(crops[index]))
        read: list[tuple[str, float]] = [("", 0.0)] * len(crops)
        for start in range(0, len(by_length), BATCH):
            some = by_length[start : start + BATCH]
            width = max(MIN_WIDTH, *(_width(crops[index]) for index in some))
            batch = np.stack([line(crops[index], width) for index in some])
            for index, probabilities in zip(some, self._session.run(None, {self._input: batch})[0], strict=True):
                read[index] = ctc_decode(probabilities, self._characters)
        return read


def line(crop: np.ndarray, width: int) -> np.ndarray:
    """Return a crop at the networks' height, its proportions kept as far as `width` allows, padded with zeros."""
    resized = normalise(cv2.resize(crop, (min(width, _width(crop)), HEIGHT)))
    padded = np.zeros((3, HEIGHT, width), dtype=np.float32)
    padded[:, :, : resized.shape[2]] = resized
    return padded


def _width(crop: np.ndarray) -> int:
    """Return a crop's width once it is as high as the networks see it."""
    return min(MAX_WIDTH, math.ceil(HEIGHT * crop.shape[1] / crop.shape[0]))

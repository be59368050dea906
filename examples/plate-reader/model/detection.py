"""Where text stands in a picture: the detection network and what its probability map says (as DBPostProcess does)."""

import cv2
import numpy as np
import onnxruntime
from postprocess import clockwise, fit, unclip

PIXEL_THRESHOLD = 0.3
BOX_THRESHOLD = 0.5
MAX_CANDIDATES = 1000
UNCLIP_RATIO = 1.6
MIN_SIDE = 3
"""In pixels of the probability map; anything smaller is a speck."""
VERTICAL = 1.5
"""From this height to width on, a crop is text that runs upwards."""


class TextDetector:
    """Finds the quadrilaterals of text in pictures whose longest side is scaled down to `longest_side` pixels."""

    def __init__(self, session: onnxruntime.InferenceSession, longest_side: int) -> None:
        self._session = session
        self._longest_side = longest_side
        self._input = session.get_inputs()[0].name

    def __call__(self, image: np.ndarray) -> list[np.ndarray]:
        """Return the corners (4, 2) of each text in pixels of `image`, clockwise from its top left."""
        height, width = image.shape[:2]
        seen = cv2.resize(image, fit(width, height, self._longest_side))
        batch = normalise(seen)[np.newaxis]
        probabilities = self._session.run(None, {self._input: batch})[0][0, 0]
        return boxes(probabilities, width, height)


def normalise(image: np.ndarray) -> np.ndarray:
    """Return a picture as the networks were trained: channels first, -1 to 1."""
    return (image.astype(np.float32).transpose(2, 0, 1) / 255 - 0.5) / 0.5


def boxes(probabilities: np.ndarray, width: int, height: int) -> list[np.ndarray]:
    """Return the boxes that a probability map shows, in pixels of a picture of that size."""
    mask = cv2.dilate((probabilities > PIXEL_THRESHOLD).astype(np.uint8), np.ones((2, 2), np.uint8))
    contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    rows, columns = probabilities.shape
    scale = np.array([width / columns, height / rows], dtype=np.float32)
    found = []
    for contour in contours[:MAX_CANDIDATES]:
        centre, sides, angle = cv2.minAreaRect(contour)
        if min(sides) < MIN_SIDE or _mean_inside(probabilities, cv2.boxPoints((centre, sides, angle))) < BOX_THRESHOLD:
            continue
        corners = clockwise(cv2.boxPoints((centre, unclip(*sides, UNCLIP_RATIO), angle)) * scale)
        found.append(np.clip(corners, 0, [width - 1, height - 1]).astype(np.float32))
    return found


def crop(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Cut a box out of a picture and straighten it; text that runs upwards is laid down."""
    width = max(1, round(max(np.linalg.norm(box[0] - box[1]), np.linalg.norm(box[2] - box[3]))))
    height = max(1, round(max(np.linalg.norm(box[0] - box[3]), np.linalg.norm(box[1] - box[2]))))
    upright = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float32)
    transform = cv2.getPerspectiveTransform(box, upright)
    cut = cv2.warpPerspective(image, transform, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.rot90(cut) if height >= VERTICAL * width else cut


def _mean_inside(probabilities: np.ndarray, corners: np.ndarray) -> float:
    """Return the mean probability inside a quadrilateral, which may reach beyond the map."""
    rows, columns = probabilities.shape
    left, top = np.clip(np.floor(corners.min(axis=0)), 0, [columns - 1, rows - 1]).astype(int)
    right, bottom = np.clip(np.ceil(corners.max(axis=0)), 0, [columns - 1, rows - 1]).astype(int)
    mask = np.zeros((bottom - top + 1, right - left + 1), dtype=np.uint8)
    cv2.fillPoly(mask, [(corners - [left, top]).astype(np.int32)], 1)
    return float(cv2.mean(probabilities[top : bottom + 1, left : right + 1], mask)[0])

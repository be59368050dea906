"""From the networks' numbers to corners, order and characters: numpy alone, so that it is tested without a network."""

import numpy as np


def clockwise(points: np.ndarray) -> np.ndarray:
    """Order four corners: top left, top right, bottom right, bottom left.

    The two leftmost are the left side, so the order holds for text tilted by less than 45 degrees.
    """
    by_x = points[np.argsort(points[:, 0], kind="stable")]
    left, right = by_x[:2], by_x[2:]
    top_left, bottom_left = left[np.argsort(left[:, 1], kind="stable")]
    top_right, bottom_right = right[np.argsort(right[:, 1], kind="stable")]
    return np.array([top_left, top_right, bottom_right, bottom_left], dtype=np.float32)


def reading_order(boxes: list[np.ndarray]) -> list[np.ndarray]:
    """Order boxes as lines are read: from the top, and in a line from the left.

    A box belongs to a line while its top left corner is less than half the height of the line's first box below it.
    """
    ordered: list[np.ndarray] = []
    line: list[np.ndarray] = []
    for box in sorted(boxes, key=lambda box: (box[0][1], box[0][0])):
        if line and box[0][1] - line[0][0][1] >= np.linalg.norm(line[0][3] - line[0][0]) / 2:
            ordered += sorted(line, key=lambda box: box[0][0])
            line = []
        line.append(box)
    return ordered + sorted(line, key=lambda box: box[0][0])


def unclip(width: float, height: float, ratio: float) -> tuple[float, float]:
    """Return the sides of the rectangle that lies around another at a distance of area x ratio / perimeter.

    Detection is trained on shrunk text (Differentiable Binarization); this undoes the shrinking. RapidOCR offsets the
    polygon with rounded corners and takes the smallest rectangle around it again, which is this one.
    """
    distance = width * height * ratio / (2 * (width + height))
    return width + 2 * distance, height + 2 * distance


def fit(width: int, height: int, longest_side: int) -> tuple[int, int]:
    """Return the size at which detection sees a picture: never enlarged, each side a multiple of 32, at least 32."""
    scale = min(1.0, longest_side / max(width, height))
    return max(32, round(width * scale / 32) * 32), max(32, round(height * scale / 32) * 32)


def alphabet(metadata: str) -> list[str]:
    """Return the characters by class, from the list that the recognition network carries in its metadata.

    Class 0 is CTC's blank, the last one the space; neither stands in the list.
    """
    return ["", *metadata.splitlines(), " "]


def ctc_decode(probabilities: np.ndarray, characters: list[str]) -> tuple[str, float]:
    """Read (steps, classes) greedily: the best class of each step, repetitions merged, then blanks dropped.

    Returns the text and the mean probability of its characters, 0 for an empty text.
    """
    classes = probabilities.argmax(axis=1)
    kept = classes != 0
    kept[1:] &= classes[1:] != classes[:-1]
    if not kept.any():
        return "", 0.0
    text = "".join(characters[index] for index in classes[kept])
    return text, float(probabilities.max(axis=1)[kept].mean())

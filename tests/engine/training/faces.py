"""A tiny training set: the astronaut's face in several framings, as pictures, index and landmarks."""

import csv
from pathlib import Path

import cv2
import numpy as np

from tests.assets import astronaut

BOX = (181.1, 62.2, 86.7, 109.9)  # x, y, w, h of MTCNN on the 512 px picture

# Jaw, brows, nose, eyes and mouth as fractions of the box: 68 points in iBUG order.
_JAW = [(np.cos(a), np.sin(a)) for a in np.linspace(np.pi, 0, 17)]
_FRACTIONS = (
    [(0.5 + 0.48 * c, 0.45 + 0.53 * s) for c, s in _JAW]
    + [(x, 0.28) for x in np.linspace(0.12, 0.42, 5)]
    + [(x, 0.28) for x in np.linspace(0.58, 0.88, 5)]
    + [(0.5, y) for y in np.linspace(0.38, 0.58, 4)]
    + [(x, 0.64) for x in np.linspace(0.4, 0.6, 5)]
    + [
        (0.3 + 0.09 * np.cos(a), 0.4 + 0.04 * np.sin(a))
        for a in np.linspace(np.pi, 3 * np.pi, 6, endpoint=False)
    ]
    + [
        (0.7 + 0.09 * np.cos(a), 0.4 + 0.04 * np.sin(a))
        for a in np.linspace(np.pi, 3 * np.pi, 6, endpoint=False)
    ]
    + [
        (0.5 + 0.2 * np.cos(a), 0.8 + 0.07 * np.sin(a))
        for a in np.linspace(np.pi, 3 * np.pi, 12, endpoint=False)
    ]
    + [
        (0.5 + 0.13 * np.cos(a), 0.8 + 0.03 * np.sin(a))
        for a in np.linspace(np.pi, 3 * np.pi, 8, endpoint=False)
    ]
)
LANDMARKS = np.array([[BOX[0] + x * BOX[2], BOX[1] + y * BOX[3]] for x, y in _FRACTIONS], np.float32)


def write_face_set(directory: Path, people: int = 4) -> Path:
    """Write a set of ``people`` differently coloured and mirrored astronauts, half of them for validation."""
    directory.mkdir(parents=True, exist_ok=True)
    picture, rows, landmarks = astronaut(), [], []
    for person in range(people):
        mirrored = person % 2 == 1
        shown = picture[:, ::-1] if mirrored else picture
        tinted = np.clip(shown.astype(np.int16) + np.array([9, -7, 5]) * person, 0, 255).astype(np.uint8)
        points, box = LANDMARKS.copy(), list(BOX)
        if mirrored:
            points[:, 0] = picture.shape[1] - points[:, 0]
            box[0] = picture.shape[1] - box[0] - box[2]
        name = f"person{person}.jpg"
        cv2.imwrite(
            str(directory / name), cv2.cvtColor(tinted, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 95]
        )
        landmarks.append(points)
        split = "train" if person < people // 2 else "val"
        rows.append([name, "lfw", f"p{person}", split, 512, *box])
    with (directory / "index.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "set", "identity", "split", "size", "bx", "by", "bw", "bh"])
        writer.writerows(rows)
    np.savez(directory / "landmarks68.npz", lm=np.stack(landmarks).astype(np.float16))
    return directory

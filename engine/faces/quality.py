"""How well a face can be judged, and the reason why one is not scored."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from engine.arrays import F32, U8
from engine.faces.crop import crop_face, crop_square
from engine.results import EvidenceReason

MEASURE_SIDE = 224
"""Side of the crop on which sharpness and light are measured, whatever the network's input is."""

# A head seen from far away, in units of the distance between the eyes, from the middle between them: how far
# the tip of the nose and the middle of the mouth lie down the face and before it. The heights are medians of
# 12,880 faces in web pictures; the depths are an adult's (31 mm and 13 mm at 63 mm between the pupils).
NOSE_DOWN, NOSE_FORWARD = 0.58, 0.50
MOUTH_DOWN, MOUTH_FORWARD = 1.08, 0.20


@dataclass(frozen=True)
class FaceQuality:
    """What one face in one frame looks like to a judge. Angles in degrees."""

    size_px: float  # shorter side of the box, pixels of the displayed frame
    sharpness: float  # variance of the Laplacian of luma (0 to 255) within the face, crop at MEASURE_SIDE
    brightness: float  # mean luma within the face, 0 to 255
    yaw: float  # positive: the nose points to the picture's right
    pitch: float  # positive: the nose points down
    roll: float  # positive: the head is tilted clockwise in the picture
    visible: float  # share of the crop's square inside the picture, 0 to 1
    area_share: float  # area of the box over the area of the picture
    confidence: float  # of the detector, 0 to 1


@dataclass(frozen=True)
class QualityRules:
    """From where on a face is scored. Percentiles are of 12,880 faces in web pictures and web video."""

    min_size_px: float = 48.0  # below it the network's input is enlarged more than three and a half times
    min_area_share: float = 0.002  # of the picture: 64 px at 1080p, a passer-by
    min_visible: float = 0.75  # a box of which a sixth is cut off
    min_brightness: float = 30.0  # 1st percentile 42 in web video: what is darker was not seen in training
    max_brightness: float = 225.0  # brightest of all 209
    min_sharpness: float = 8.0  # 1st percentile 9 in web video; a face of 216 px under a blur of sigma 3.5 px
    min_confidence: float = 0.9  # lowest half percent of real faces 0.87 to 0.99
    max_yaw: float = 60.0  # 99.9th percentile; beyond it one eye is hidden
    max_pitch: float = 50.0  # a broad smile lifts the mouth and reads as up to 50 by itself
    max_roll: float = 60.0  # the detector loses faces from about 45


QUALITY_RULES = QualityRules()


def measure_quality(rgb: U8, box: F32, landmarks: F32, confidence: float) -> FaceQuality:
    """Measure one face of a uint8 [H, W, 3] frame; box [4] and points [5, 2] are fractions of the frame."""
    height, width = rgb.shape[:2]
    box_px = box * np.array([width, height, width, height], np.float32)
    crop, _ = crop_face(rgb, box_px, MEASURE_SIDE)
    edge = round(MEASURE_SIDE * (1 - 1 / 1.3) / 2)  # inside of it lies the box's own square
    luma = np.asarray(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY))[edge:-edge, edge:-edge]
    yaw, pitch, roll = estimate_pose(landmarks * np.array([width, height], np.float32))
    return FaceQuality(
        size_px=float(min(box_px[2:])),
        sharpness=float(cv2.Laplacian(luma, cv2.CV_32F).var()),
        brightness=float(luma.mean()),
        yaw=yaw,
        pitch=pitch,
        roll=roll,
        visible=crop_square(box_px).visible_share(width, height),
        area_share=float(box[2] * box[3]),
        confidence=confidence,
    )


def estimate_pose(points_px: F32) -> tuple[float, float, float]:
    """Return yaw, pitch and roll in degrees from the five points [5, 2] in pixels.

    Roll is the angle of the line between the eyes. In the face's own axes (x along that line, y down from the
    eyes' middle, in distances between the eyes) a head turned by yaw shows nose and mouth moved across by
    ``forward * tan(yaw)``, and an error of roll moves them by ``down`` each; both together give yaw. A head
    nodding by pitch shows them at ``down + forward * tan(pitch)``, of which the ratio gives pitch. One model
    for all heads and expressions: ten degrees off are common, and the sign of an extreme pose is what counts.
    """
    left_eye, right_eye, nose, left_mouth, right_mouth = points_px.astype(np.float64)
    middle, across = (left_eye + right_eye) / 2, right_eye - left_eye
    roll = math.atan2(across[1], across[0])
    turn = np.array([[math.cos(roll), math.sin(roll)], [-math.sin(roll), math.cos(roll)]])
    nose_x, nose_y = turn @ (nose - middle)
    mouth_x, mouth_y = turn @ ((left_mouth + right_mouth) / 2 - middle)
    lean = NOSE_FORWARD * MOUTH_DOWN - MOUTH_FORWARD * NOSE_DOWN
    yaw = math.atan2(nose_x * MOUTH_DOWN - mouth_x * NOSE_DOWN, lean * math.hypot(*across))
    pitch = math.atan2(
        nose_y * MOUTH_DOWN - mouth_y * NOSE_DOWN, mouth_y * NOSE_FORWARD - nose_y * MOUTH_FORWARD
    )
    return math.degrees(yaw), math.degrees(pitch), math.degrees(roll)


def exclude_reason(quality: FaceQuality, rules: QualityRules = QUALITY_RULES) -> EvidenceReason | None:
    """Return the first reason not to score a face, or None.

    The order goes from cause to effect: a small, dark or blurred face also has unsure points and confidence,
    and its owner is helped by the cause.
    """
    failed = (
        (quality.size_px < rules.min_size_px, EvidenceReason.FACE_TOO_SMALL),
        (quality.area_share < rules.min_area_share, EvidenceReason.FACE_TOO_SMALL),
        (quality.visible < rules.min_visible, EvidenceReason.CUT_OFF),
        (quality.brightness < rules.min_brightness, EvidenceReason.TOO_DARK),
        (quality.brightness > rules.max_brightness, EvidenceReason.TOO_BRIGHT),
        (quality.sharpness < rules.min_sharpness, EvidenceReason.TOO_BLURRED),
        (quality.confidence < rules.min_confidence, EvidenceReason.LOW_CONFIDENCE),
        (abs(quality.yaw) > rules.max_yaw, EvidenceReason.EXTREME_POSE),
        (abs(quality.pitch) > rules.max_pitch, EvidenceReason.EXTREME_POSE),
        (abs(quality.roll) > rules.max_roll, EvidenceReason.EXTREME_POSE),
    )
    return next((reason for is_so, reason in failed if is_so), None)

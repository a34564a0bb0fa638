"""H.264 written bit by bit: grey pictures of any size at one byte per macroblock, still frames at ten bytes.

An encoder needs gigabytes for a picture of 16000x16000 and minutes for a million frames; a decoder that is
to be stopped in time needs neither. Baseline profile, CAVLC, no deblocking (ITU-T H.264, 7.3).
"""

from dataclasses import dataclass

MACROBLOCK_PX = 16
FRAME_NUMBER_BITS = 16


def _ue(value: int) -> str:
    """Return the Exp-Golomb code of an unsigned number as a string of bits."""
    bits = f"{value + 1:b}"
    return "0" * (len(bits) - 1) + bits


def _pack(bits: str) -> bytes:
    """Close a payload with its stop bit and return whole bytes."""
    bits += "1"
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def _nal(header: int, payload: bytes) -> bytes:
    """Return a NAL unit with emulation prevention: no three bytes of it look like a start code."""
    for last in (0, 1, 2, 3):
        payload = payload.replace(bytes((0, 0, last)), bytes((0, 0, 3, last)))
    return bytes([header]) + payload


@dataclass(frozen=True)
class GreyVideo:
    """A grey stream of one size; sizes are multiples of 16 px."""

    width: int
    height: int

    def __post_init__(self) -> None:
        if self.width % MACROBLOCK_PX or self.height % MACROBLOCK_PX:
            raise ValueError("width and height are whole macroblocks")

    @property
    def macroblocks(self) -> int:
        return self.width * self.height // MACROBLOCK_PX**2

    def sequence_header(self) -> bytes:
        """Return the sequence parameter set, level 6.2."""
        head = f"{66:08b}{0b11000000:08b}{62:08b}"
        fields = _ue(0) + _ue(FRAME_NUMBER_BITS - 4) + _ue(2) + _ue(1) + "0"
        size = _ue(self.width // MACROBLOCK_PX - 1) + _ue(self.height // MACROBLOCK_PX - 1)
        return _nal(0x67, _pack(head + fields + size + "1" + "1" + "0" + "0"))

    @staticmethod
    def picture_header() -> bytes:
        """Return the picture parameter set: CAVLC, one slice group, deblocking under slice control."""
        return _nal(0x68, _pack(_ue(0) + _ue(0) + "00" + _ue(0) * 3 + "000" + _ue(0) * 3 + "100"))

    def key_frame(self) -> bytes:
        """Return an IDR picture in which every macroblock is predicted flat and carries no residue."""
        header = _ue(0) + _ue(7) + _ue(0) + "0" * FRAME_NUMBER_BITS + _ue(0) + "00" + _ue(0) + _ue(1)
        # mb_type 3 (Intra 16x16, flat, nothing coded), chroma mode 0, qp delta 0, no coefficients.
        block = _ue(3) + "111"
        return _nal(0x65, _repeat_bits(header, block, self.macroblocks))

    def still_frame(self, number: int) -> bytes:
        """Return a picture that repeats the one before; ``number`` counts from the last key frame."""
        frame_number = f"{number % (1 << FRAME_NUMBER_BITS):0{FRAME_NUMBER_BITS}b}"
        header = _ue(0) + _ue(5) + _ue(0) + frame_number + "000" + _ue(0) + _ue(1)
        return _nal(0x41, _pack(header + _ue(self.macroblocks)))

    def frames(self, count: int, key_every: int | None = None) -> list[bytes]:
        """Return NAL units, one per frame: key frames at the stated distance, still frames between."""
        distance = key_every or count
        period = min(distance, 1 << FRAME_NUMBER_BITS)
        stills = [self.still_frame(n) for n in range(period)]
        group = [self.key_frame(), *(stills * -(-distance // period))[1:distance]]
        return (group * -(-count // distance))[:count]

    def configuration(self) -> bytes:
        """Return the payload of an ``avcC`` box."""
        sps, pps = self.sequence_header(), self.picture_header()
        return (
            bytes((1, *sps[1:4], 0xFF, 0xE1))
            + len(sps).to_bytes(2, "big") + sps + b"\x01" + len(pps).to_bytes(2, "big") + pps
        )  # fmt: skip

    def byte_stream(self, units: list[bytes]) -> bytes:
        """Return the units behind start codes, with the parameter sets in front."""
        return b"".join(b"\0\0\0\1" + u for u in (self.sequence_header(), self.picture_header(), *units))


def length_prefixed(unit: bytes) -> bytes:
    """Return one NAL unit as an MP4 sample carries it."""
    return len(unit).to_bytes(4, "big") + unit


def _repeat_bits(header: str, block: str, count: int) -> bytes:
    """Return header, ``count`` blocks of eight bits and the stop bit; a million blocks cost no string."""
    lead = len(header) % 8
    tail = block[: 8 - lead] if lead else ""
    head = int(header + tail, 2).to_bytes((len(header) + len(tail)) // 8, "big") if header + tail else b""
    if not lead:
        return head + bytes([int(block, 2)]) * count + b"\x80"
    rotated = int(block[8 - lead :] + block[: 8 - lead], 2)
    end = block[8 - lead :] + "1"
    end += "0" * (-len(end) % 8)
    return head + bytes([rotated]) * (count - 1) + int(end, 2).to_bytes(len(end) // 8, "big")

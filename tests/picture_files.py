"""Picture files byte by byte, for kinds that OpenCV reads but does not write."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np


def chunk(name, data):
    """Of a PNG file."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_file(colour_type, depth, width, height, rows, *chunks):
    """A PNG file from its scan lines."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    middle = b"".join(chunk(*c) for c in chunks)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + middle
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def exif_block(orientation):
    """A big-endian TIFF header and one entry: orientation (0x0112), a short."""
    return b"MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0) + b"\0\0\0\0"


def add_exif(data, orientation, preview=b""):
    """The JPEG, PNG or WebP file with EXIF data; in a JPEG file, a preview behind them."""
    block = exif_block(orientation)
    if data.startswith(b"\xff\xd8"):
        exif = b"Exif\0\0" + block + preview
        return data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]
    if data.startswith(b"\x89PNG"):
        return data[:33] + chunk(b"eXIf", block) + data[33:]
    height, width = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED).shape[:2]
    extended = bytes([8, 0, 0, 0]) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + extended + data[12:] + b"EXIF" + struct.pack("<I", len(block)) + block
    return b"RIFF" + struct.pack("<I", len(body)) + body


def tiff_file(pixels, orientation, width=None, height=None):
    """An uncompressed TIFF file of BGR pixels, in which the size may be another one than that of the pixels."""
    rgb = np.ascontiguousarray(pixels[:, :, ::-1]).astype(pixels.dtype.newbyteorder("<"))
    bits = 8 * pixels.dtype.itemsize
    rows, columns = height or pixels.shape[0], width or pixels.shape[1]
    entries = [
        (256, 4, 1, columns),
        (257, 4, 1, rows),
        (258, 3, 3, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 1, 14),
        (274, 3, 1, orientation),
        (277, 3, 1, 3),
        (278, 4, 1, rows),
        (279, 4, 1, rgb.nbytes),
        (284, 3, 1, 1),
    ]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    start = 14 + rgb.nbytes + rgb.nbytes % 2
    head = b"II*\0" + struct.pack("<I", start) + struct.pack("<HHH", bits, bits, bits)
    return head + rgb.tobytes() + bytes(rgb.nbytes % 2) + directory + b"\0\0\0\0"

"""Reads the printed code of a page with ZXing-C++, which knows nothing of ours, and prints its text.

    qr.py [--turned] [--stain PERCENT] PAGE

The code is the page's one SVG element: a white square, and a path of dark runs, `M<x> <y>h<width>v1h-<width>z` each.
It is drawn into grey pixels here; --turned draws it on its head, and --stain blackens that share of its middle, as a cup
on a print does. Exit code 1 when the page has no such drawing or the reader finds no code in it.
"""

import argparse
import re
import sys
from pathlib import Path

import zxingcpp

# Pixels of a module: what a phone has of a print at arm's length.
SCALE = 4
LIGHT, DARK = 255, 0


def modules(page):
    """Rows of booleans, dark is true, the white margin included."""
    drawn = re.findall(r'<svg viewBox="0 0 (\d+) (\d+)".*?<path d="([^"]*)"/></svg>', page)
    if len(drawn) != 1:
        raise ValueError(f"{len(drawn)} drawings of a code")
    width, height, path = int(drawn[0][0]), int(drawn[0][1]), drawn[0][2]
    run = re.compile(r"M(\d+) (\d+)h(\d+)v1h-(\d+)z")
    if run.sub("", path):
        raise ValueError("the drawing is more than runs of modules")
    rows = [[False] * width for _ in range(height)]
    for x, y, there, back in (map(int, found) for found in run.findall(path)):
        if there != back or x + there > width or y >= height:
            raise ValueError("a run leaves the drawing")
        rows[y][x : x + there] = [True] * there
    return rows


def stained(rows, percent):
    """The same with a dark square in the middle that covers so much of the drawing."""
    side = round(len(rows) * (percent / 100) ** 0.5)
    first = (len(rows) - side) // 2
    for row in rows[first : first + side]:
        row[first : first + side] = [True] * side
    return rows


def pixels(rows):
    """The drawing as a picture of one byte a pixel."""
    lines = [bytes(DARK if dark else LIGHT for dark in row for _ in range(SCALE)) * SCALE for row in rows]
    return memoryview(b"".join(lines)).cast("B", (len(rows) * SCALE, len(rows[0]) * SCALE))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--turned", action="store_true")
    parser.add_argument("--stain", type=float, default=0)
    parser.add_argument("page", type=Path)
    args = parser.parse_args()
    try:
        rows = stained(modules(args.page.read_text(encoding="utf-8")), args.stain)
    except ValueError as e:
        sys.exit(f"{args.page}: {e}")
    if args.turned:
        rows = [row[::-1] for row in reversed(rows)]
    found = zxingcpp.read_barcodes(pixels(rows))
    if len(found) != 1 or found[0].format != zxingcpp.BarcodeFormat.QRCode:
        sys.exit(f"{args.page}: the reader finds {[str(code.format) for code in found]}")
    print(found[0].text)


main()

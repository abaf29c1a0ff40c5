"""What the answers are, in plain loops: float64 (integers stay exact), nothing from patchsim."""

from __future__ import annotations


def sad_map(image, kernel, stride=(1, 1), span=1.0):
    """Similarity of every window; image [H, W, C] and kernel [h, w, C] as nested lists."""
    height, width, channels = len(kernel), len(kernel[0]), len(kernel[0][0])
    rows = (len(image) - height) // stride[0] + 1
    cols = (len(image[0]) - width) // stride[1] + 1
    result = []
    for row in range(rows):
        line = []
        for col in range(cols):
            total = 0
            for y in range(height):
                for x in range(width):
                    for c in range(channels):
                        pixel = image[row * stride[0] + y][col * stride[1] + x][c]
                        total += abs(pixel - kernel[y][x][c])
            line.append(1 - total / (height * width * channels * span))
        result.append(line)
    return result


def overlap(a, b):
    """Intersection over union of two boxes (x, y, width, height)."""
    wide = max(0, min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0]))
    tall = max(0, min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1]))
    shared = wide * tall
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


def best_matches(maps, sizes, stride, top, threshold, most_overlap):
    """Greedy suppression: (x, y, width, height, score, kernel number), best first."""
    windows = []
    for number, scores in enumerate(maps):
        height, width = sizes[number]
        for row, line in enumerate(scores):
            for col, score in enumerate(line):
                if threshold is None or score >= threshold:
                    windows.append(
                        (-score, row * stride[0], col * stride[1], number, width, height)
                    )
    found = []
    for minus, y, x, number, width, height in sorted(windows):
        box = (x, y, width, height)
        if len(found) == top:
            break
        if all(overlap(box, other[:4]) <= most_overlap for other in found):
            found.append((*box, -minus, number))
    return found

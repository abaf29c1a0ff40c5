"""What the answers are, in plain loops: float64 (integers stay exact), nothing from patchsim."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from operator import mul


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


def score_map(
    metric, image, kernel, stride=(1, 1), span=1.0, weights=None, visible=None, min_visible=0.5
):
    """The same for every metric; pictures of integers give the nearest float.

    With weights [h][w] or [h][w][c], whole numbers, each value counts that often, and with the
    image's visibility [H][W], too, times that. Where less than `min_visible` of what counts is
    visible, relative to the most visible pixel, the score is 0.
    """
    height, width, channels = len(kernel), len(kernel[0]), len(kernel[0][0])

    def weight(y, x, c):
        found = weights[y][x] if weights else 1
        return found[c] if isinstance(found, list) else found

    def cut(plane, top, left):
        return [value for row in plane[top : top + height] for value in row[left : left + width]]

    places = [(y, x, c) for c in range(channels) for y in range(height) for x in range(width)]
    counts = [weight(*place) for place in places]
    taps = [kernel[y][x][c] for y, x, c in places]
    planes = [[[pixel[c] for pixel in row] for row in image] for c in range(channels)]
    most = max(max(line) for line in visible) if visible else 1
    result = []
    for top in range(0, len(image) - height + 1, stride[0]):
        line = []
        for left in range(0, len(image[0]) - width + 1, stride[1]):
            window = [value for plane in planes for value in cut(plane, top, left)]
            often = counts
            if visible:
                seen = channels * cut(visible, top, left)
                often = [count * shown for count, shown in zip(counts, seen, strict=True)]
            share = sum(often) / (most * sum(counts))
            enough = share > 0 and share >= (min_visible if visible else 0)
            line.append(score(metric, window, taps, often, channels, span) if enough else 0.0)
        result.append(line)
    return result


def score(metric, window, taps, counts, channels, span):
    """Of one window; values in the order of the channels, each of which counts so often."""
    values = list(zip(counts, window, taps, strict=True))
    if metric == "sad":
        return 1 - sum(n * abs(a - b) for n, a, b in values) / (sum(counts) * span)
    if metric == "ssd":
        return 1 - sum(n * (a - b) ** 2 for n, a, b in values) / (sum(counts) * span**2)
    whole = all(isinstance(value, int) for value in (*window, *taps))
    products = squares = own = 0
    flat_window = flat_kernel = metric == "zncc"
    for first in range(0, len(values), len(values) // channels):
        n, a, b = zip(*values[first : first + len(values) // channels], strict=True)
        scale = 1
        if metric == "zncc":
            scale = sum(n) or 1
            least = [1e-12 * scale**2 * weighted(n, each, each) for each in (a, b)]
            a, b = centred(n, a), centred(n, b)
        spreads = [weighted(n, each, each) for each in (a, b)]
        if metric == "zncc":
            # Flat is a channel whose variance is at most 1e-12 of its mean square.
            flat_window &= spreads[0] <= least[0]
            flat_kernel &= spreads[1] <= least[1]
        share = Fraction(1, scale**2) if whole else 1 / scale**2
        products += share * weighted(n, a, b)
        squares += share * spreads[0]
        own += share * spreads[1]
    if flat_window or flat_kernel:
        return 0.0
    norms = math.sqrt(float(squares) * float(own))
    return float(products) / norms if norms else 0.0


def weighted(counts, one, two):
    """The sum of products, each as often as it counts."""
    assert len(counts) == len(one) == len(two)
    return sum(map(mul, map(mul, counts, one), two))


def centred(counts, values):
    """A channel less its mean; times how many values count, so that integers stay integers."""
    assert len(counts) == len(values)
    count, total = sum(counts), sum(map(mul, counts, values))
    return [count * value - total for value in values]


def padded(image, rows, cols, padding):
    """The image with so many rows and columns more on each side."""

    def source(index, length):
        if padding == "zero":
            return index if 0 <= index < length else None
        if padding == "edge":
            return min(max(index, 0), length - 1)
        period = max(1, 2 * (length - 1))
        return min(index % period, -index % period)

    def pixel(y, x):
        y, x = source(y, len(image)), source(x, len(image[0]))
        return [0] * len(image[0][0]) if y is None or x is None else image[y][x]

    return [
        [pixel(y, x) for x in range(-cols, len(image[0]) + cols)]
        for y in range(-rows, len(image) + rows)
    ]


def overlap(a, b):
    """Intersection over union of two boxes (x, y, width, height)."""
    wide = max(0, min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0]))
    tall = max(0, min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1]))
    shared = wide * tall
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


def best_matches(maps, sizes, stride, top, threshold, most_overlap, origins=None):
    """Greedy suppression: (x, y, width, height, score, kernel number), best first.

    Maps begin at `origins`, (y, x).
    """
    windows = []
    for number, scores in enumerate(maps):
        height, width = sizes[number]
        first_y, first_x = origins[number] if origins else (0, 0)
        for row, line in enumerate(scores):
            for col, score in enumerate(line):
                if threshold is None or score >= threshold:
                    y, x = first_y + row * stride[0], first_x + col * stride[1]
                    windows.append((-score, y, x, number, width, height))
    found = []
    for minus, y, x, number, width, height in sorted(windows):
        box = (x, y, width, height)
        if len(found) == top:
            break
        if all(overlap(box, other[:4]) <= most_overlap for other in found):
            found.append((*box, -minus, number))
    return found


def cosine(a, b):
    """Of two vectors; 0 where one is zero."""
    lengths = math.sqrt(sum(x * x for x in a) * sum(x * x for x in b))
    return sum(x * y for x, y in zip(a, b, strict=True)) / lengths if lengths else 0.0


def match(one, two):
    """The permutation of `two` with the largest sum of cosines, by trying all."""
    table = [[cosine(a, b) for b in two] for a in one]
    return max(
        itertools.permutations(range(len(one))),
        key=lambda order: sum(table[s][t] for s, t in enumerate(order)),
    )


def similarity_losses(f, p):
    """[2BS] of matching_similarity_loss_per_img; f and p as nested lists [2B, S, C]."""
    images, slots = len(f) // 2, len(f[0])
    losses = [[0.0] * slots for _ in f]
    for i in range(images):
        for s, t in enumerate(match(f[i], f[i + images])):
            losses[i][s] = (1 - cosine(p[i][s], f[i + images][t])) / 2
            losses[i + images][t] = (1 - cosine(p[i + images][t], f[i][s])) / 2
    return [loss for view in losses for loss in view]


def contrastive_losses(slots, temperature, per_img):
    """[2BS] of the contrastive losses."""
    images, count = len(slots) // 2, len(slots[0])
    positive = {}
    for i in range(images):
        for s, t in enumerate(match(slots[i], slots[i + images])):
            positive[i, s], positive[i + images, t] = (i + images, t), (i, s)
    losses = []
    for row in range(2 * images):
        for s in range(count):
            own = row % images
            others = [
                (r, t)
                for r in range(2 * images)
                for t in range(count)
                if (r, t) != (row, s) and (not per_img or r % images == own)
            ]
            logits = {(r, t): cosine(slots[row][s], slots[r][t]) / temperature for r, t in others}
            total = math.log(sum(math.exp(value) for value in logits.values()))
            losses.append(total - logits[positive[row, s]])
    return losses


def small_to_large(large, small):
    """Losses [B, a, A] (NaN where no slot is reciprocal) and the share of reciprocal slots."""
    losses, hits, slots = [], 0, 0
    for b, crops in enumerate(small):
        rows = []
        for one in crops:
            row = []
            for two in large[b]:
                table = [[cosine(a, c) for c in two] for a in one]
                found = []
                for s, line in enumerate(table):
                    t = line.index(max(line))
                    column = [other[t] for other in table]
                    if column.index(max(column)) == s:
                        found.append((1 - line[t]) / 2)
                slots += len(table)
                hits += len(found)
                row.append(sum(found) / len(found) if found else math.nan)
            rows.append(row)
        losses.append(rows)
    return losses, hits / slots

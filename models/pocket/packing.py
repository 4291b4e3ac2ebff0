"""Packs dialogues into rows of fixed lengths, several to a row, with nothing wasted that can be helped."""

import numpy as np

from dialogues import render
from tokens import PAD

SHAPE = ((16, 256), (2, 512))
LONG_SHAPE = ((4, 1024),)
BUFFER = 300
BUFFER_LARGE = 60  # of the buffer, dialogues that fit the longest rows only; more are dropped, or they would fill it


class Packer:
    """Batches (tokens, segments, positions, weights) and their shape, from a maker of dialogues."""

    def __init__(self, make):
        self.make = make
        self.buffer = []
        self.long = []
        self.dialogues = 0

    def _refill(self):
        while len(self.buffer) < BUFFER:
            ids, weights = render(self.make())
            self.dialogues += 1
            if len(ids) <= SHAPE[-2][1]:
                self.buffer.append((ids, weights))
            elif len(ids) <= SHAPE[-1][1]:
                if sum(len(i) > SHAPE[-2][1] for i, _ in self.buffer) < BUFFER_LARGE:
                    self.buffer.append((ids, weights))
            elif len(ids) <= LONG_SHAPE[0][1]:
                self.long.append((ids, weights))

    def _row(self, source, length, arrays, start):
        """Fills one row with the largest dialogues that fit, oldest first among equals."""
        room, segment = length, 1
        while True:
            best = max((i for i, (ids, _) in enumerate(source) if len(ids) <= room), key=lambda i: len(source[i][0]), default=None)
            if best is None:
                return
            ids, weights = source.pop(best)
            at = slice(start + length - room, start + length - room + len(ids))
            for array, values in zip(arrays, (ids, segment, range(len(ids)), weights)):
                array[at] = values
            room -= len(ids)
            segment += 1

    def batch(self):
        self._refill()
        if sum(len(ids) for ids, _ in self.long) > 3500:
            shape, source = LONG_SHAPE, self.long
        else:
            shape, source = SHAPE, self.buffer
        count = sum(rows * length for rows, length in shape)
        arrays = (np.full(count, PAD, np.int32), np.zeros(count, np.int32), np.zeros(count, np.int32), np.zeros(count, np.float32))
        start = count
        for rows, length in reversed(shape):
            for _ in range(rows):
                start -= length
                self._row(source, length, arrays, start)
        return arrays, shape

"""Reads frames, independently of the page."""

import numpy as np

from fastmlp.playground.session import COARSE, FINE, FRAME_HEADER, HEADER_FIELDS


class Frame:
    """The content of a frame by names."""

    def __init__(self, content):
        for name, value in zip(HEADER_FIELDS, FRAME_HEADER.unpack_from(content), strict=True):
            setattr(self, name, value)
        self._content, self._offset = content, FRAME_HEADER.size
        self.params = self._take("<f4", self.n_params)
        self.peaks = self._take("<f4", self.n_hidden)
        self.output = self._take("<i2", FINE, FINE) / 32767
        self.hidden = self._take("i1", self.n_hidden, COARSE, COARSE) / 127
        assert self._offset == len(content)

    def _take(self, dtype, *shape):
        size = int(np.prod(shape))
        values = np.frombuffer(self._content, dtype, size, self._offset)
        self._offset += values.nbytes
        return values.reshape(shape)

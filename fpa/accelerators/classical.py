"""Plain iteration."""

from fpa.accelerators.base import AbstractMixing


class Picard(AbstractMixing):
    """z_next = f(z)."""

    def init(self, op, start=None):
        return (op.initial() if start is None else start), None

    def propose(self, z, fz, state):
        return fz, state

"""How long a run whose steps change will still take."""

import math
from bisect import bisect_left

FURTHEST = 4
"""Octaves of t over which the present growth of the steps is continued."""


class RemainingTime:
    """The wall time to `end`, from the time the last octaves of t took.

    If wall time grows as a power of t, every doubling of t takes r times as long as the one
    before: r = 2 at constant steps, r → 1 at steps that grow with t. So r is measured from the
    last two doublings, kept within these limits, and the remaining ones are summed:
    b Σ rᵐ = b r (rⁿ − 1)/(r − 1) with n = log₂(end/t) and b the wall time from t/2 to t.

    Args:
        end: reduced time at which the run ends.
    """

    def __init__(self, end: float) -> None:
        self._end = end
        self._times: list[float] = []
        self._walls: list[float] = []

    def after(self, time: float, wall: float) -> float | None:
        """Seconds left once reduced `time` was reached at `wall` (s).

        None until two octaves are seen and no more than `FURTHEST` are left. A run continued beyond
        a quarter of its end never sees two; its present rate is kept instead.
        """
        self._times.append(time)
        self._walls.append(wall)
        began = self._times[0]
        if time >= self._end:
            return 0.0
        if 2**FURTHEST * time < self._end:
            return None
        if time >= 4 * began:
            recent, before = (self._wall(t) for t in (time / 2, time / 4))
            octave = wall - recent
            ratio = min(2.0, max(1.0, octave / max(recent - before, 1e-9)))
            return octave * _sum_of_powers(ratio, math.log2(self._end / time))
        if 4 * began > self._end and time > began:
            start = max(began, time / 2)
            return (wall - self._wall(start)) * (self._end - time) / (time - start)
        return None

    def _wall(self, time: float) -> float:
        """When `time` was reached, between steps by linear interpolation."""
        i = max(1, bisect_left(self._times, time))
        (t0, t1), (w0, w1) = self._times[i - 1 : i + 1], self._walls[i - 1 : i + 1]
        return w0 + (w1 - w0) * (time - t0) / (t1 - t0)


def _sum_of_powers(r: float, n: float) -> float:
    """R + r² + … + rⁿ, continued to any n."""
    return n if r - 1 < 1e-9 else r * (r**n - 1) / (r - 1)

"""How far two scores agree on the same contacts."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

TOP = 0.1


def agreement(new: Floats, present: Floats) -> dict[str, float | int | None]:
    """Figures on the contacts that have both scores (nan: none): `rank_correlation` is Spearman's, 1 for the
    same order; `top_overlap` is the share of the present score's best tenth that the new score has among as many
    of its own best, ties counted by the share of them that fits. Null where a score is the same for everyone."""
    from scipy.stats import rankdata

    both = np.isfinite(new) & np.isfinite(present)
    found: dict[str, float | int | None] = {"contacts": int(both.sum())}
    one, other = new[both], present[both]
    if len(one) < 2 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return {**found, "rank_correlation": None, "top_overlap": None}
    correlation = float(np.corrcoef(rankdata(one), rankdata(other))[0, 1])
    size = max(1, round(TOP * len(one)))
    overlap = float(_in_top(one, size) @ _in_top(other, size)) / size
    return {**found, "rank_correlation": round(correlation, 4), "top_overlap": round(overlap, 4)}


def _in_top(scores: Floats, size: int) -> Floats:
    """How much of each contact is among the best `size`: 1, 0, or its part where the last places are tied."""
    edge = np.sort(scores)[-size]
    above, tied = scores > edge, scores == edge
    return np.asarray(above + tied * (size - above.sum()) / tied.sum(), np.float64)

"""Reasons in words: exact contributions, grouped by what a marketer would call one thing.

Works on whole columns: a loop runs over features and groups, never over contacts.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scoring.features.build import OTHER, Feature
from scoring.learning.coding import Coding, Flags, Floats, Ints

FOR, AGAINST = 3, 2
#: Log-odds below which a reason is not worth a reader's time: a tenth more or less in the odds.
LEAST = 0.1
#: Characters of a reason.
LONGEST = 160
NOTHING = "No single reason stands out"
_NONE = -1


def reasons(coding: Coding, known: Floats, contributions: Floats, worthy: Flags) -> pa.Array:
    """One text per row: up to three reasons for, then up to two against, strongest first.

    `known` is the values as they are (NaN is unknown), `contributions` log-odds, both rows x features; `worthy`
    says which features may be named. A missing value is never a reason in favour.
    """
    absent = np.array([feature.phrase_none is not None for feature in coding.features], dtype=bool)
    missing = np.isnan(known)
    sayable = ~missing & ~_silent(coding, known) & worthy
    groups = _groups(coding.features)
    up = _chosen(groups, contributions, sayable, FOR)
    down = _chosen(groups, -contributions, sayable | (missing & absent & worthy), AGAINST)
    slots = [_words(coding, known, column, "+ ") for column in up.T]
    slots += [_words(coding, known, column, "− ") for column in down.T]
    # Every slot ends in the separator: Arrow's join drops rows in which all parts are null.
    joined = pc.replace_substring_regex(pc.binary_join_element_wise(*slots, ""), "; $", "")
    return pc.if_else(pc.equal(joined, ""), NOTHING, joined)


def worthy(coding: Coding, margins: Floats, contributions: Floats, outcome: Floats) -> Flags:
    """Which features may be named: those of groups that earned it on rows that the models did not see.

    A group earns it when the log-likelihood falls without its contributions by more than two standard errors.
    What only fitted noise does not.
    """
    out = np.zeros(len(coding.features), dtype=bool)
    loss = np.logaddexp(0, margins) - outcome * margins
    for members in _groups(coding.features):
        without = margins - contributions[:, members].sum(axis=1)
        gain = np.logaddexp(0, without) - outcome * without - loss
        out[members] = gain.mean() * np.sqrt(len(gain)) > 2 * gain.std() if len(gain) else False
    return out


def _groups(features: Sequence[Feature]) -> list[Ints]:
    """Positions of each group's features, groups in order of first appearance."""
    members: dict[str, list[int]] = {}
    for i, feature in enumerate(features):
        members.setdefault(feature.group, []).append(i)
    return [np.array(positions) for positions in members.values()]


def _chosen(groups: list[Ints], effect: Floats, sayable: Flags, most: int) -> Ints:
    """Rows x `most` feature positions: the groups of largest total effect, each by its strongest feature."""
    totals = np.zeros((len(effect), len(groups)))
    spokesmen = np.zeros((len(effect), len(groups)), dtype=np.int64)
    for g, members in enumerate(groups):
        own = effect[:, members]
        allowed = np.where(sayable[:, members], own, -np.inf)
        best = allowed.argmax(axis=1)
        total = own.sum(axis=1)
        spokesmen[:, g] = members[best]
        totals[:, g] = np.where(allowed.max(axis=1) > 0, total, 0.0)
    out = np.full((len(effect), most), _NONE)
    order = np.argsort(-totals, axis=1, kind="stable")[:, :most]
    strong = np.take_along_axis(totals, order, axis=1) >= LEAST
    out[:, : order.shape[1]] = np.where(strong, np.take_along_axis(spokesmen, order, axis=1), _NONE)
    return out


def _words(coding: Coding, known: Floats, which: Ints, sign: str) -> pa.Array:
    """One slot's texts with a separator after each; empty where there is no reason."""
    nothing = np.flatnonzero(which == _NONE)
    rows, parts = [nothing], [pa.array([""]).take(pa.array(np.zeros(len(nothing), np.int64)))]
    for i in np.unique(which[which != _NONE]):
        here = np.flatnonzero(which == i)
        said = phrased(coding, int(i), known[here, i])
        rows.append(here)
        parts.append(pc.binary_join_element_wise(sign, said, "; ", ""))
    order = np.argsort(np.concatenate(rows), kind="stable")
    return pa.concat_arrays([_flat(part) for part in parts]).take(pa.array(order))


def phrased(coding: Coding, position: int, values: Floats) -> pa.Array:
    """A feature's values as phrases, each distinct value put into words once; missing takes `phrase_none`."""
    feature = coding.features[position]
    distinct, which = np.unique(_legible(feature, values), return_inverse=True)
    texts = [_sentence(coding, feature, float(value)) for value in distinct]
    return pa.array(texts, pa.string()).take(pa.array(which.ravel()))


def _sentence(coding: Coding, feature: Feature, value: float) -> str | None:
    if np.isnan(value):
        said = feature.phrase_none
    else:
        said = feature.sentence(coding.levels[feature.name][int(value)] if feature.kind == "category" else value)
    return None if said is None else _one_line(said)


def _one_line(said: str) -> str:
    """A phrase as it may stand among others: labels and values are people's, of any length, and the semicolon is
    what parts reasons from each other."""
    plain = " ".join(said.replace(";", ",").split())
    return plain if len(plain) <= LONGEST else plain[: LONGEST - 1].rstrip() + "…"


def _legible(feature: Feature, values: Floats) -> Floats:
    """Values to the digits that get said, so that few are distinct."""
    if feature.kind == "category":
        return values
    if feature.unit in ("share", "number"):
        scale = 10.0 ** (3 - np.floor(np.log10(np.maximum(np.abs(np.nan_to_num(values)), 1e-4))))
        out: Floats = np.round(values * scale) / scale
        return out
    return np.round(values)


def _silent(coding: Coding, known: Floats) -> Flags:
    """Values that are no reason by themselves: a zero without words for it, the pool of rare categories."""
    out = np.zeros(known.shape, dtype=bool)
    for i, feature in enumerate(coding.features):
        if feature.kind == "category":
            levels = coding.levels[feature.name]
            out[:, i] = known[:, i] == (levels.index(OTHER) if OTHER in levels else -1)
        elif feature.phrase_none is None and feature.unit != "days":
            digits = 3 if feature.unit in ("share", "number") else 0
            out[:, i] = np.round(np.nan_to_num(known[:, i], nan=1.0), digits) == 0
    return out


def _flat(array: pa.Array | pa.ChunkedArray) -> pa.Array:
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array

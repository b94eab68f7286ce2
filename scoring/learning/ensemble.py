"""The published procedure: one model per fold of people, each calibrated on folds it did not see.

A contact is always scored by the fold model that left it out. So the probabilities of the rows that were
trained on are out-of-sample, and are the very ones that get published.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from scoring import libraries
from scoring.errors import ModelMismatch
from scoring.learning import candidates
from scoring.learning.calibration import Beta, cross_fitted
from scoring.learning.candidates import Average, Fitted
from scoring.learning.coding import Coding, Flags, Floats, Ints

#: Digits of a published probability.
DIGITS = 4
_THREADS = 2


@dataclass(frozen=True)
class Sample:
    """Rows to learn from or to be measured on, in a fixed order."""

    values: Floats  # rows x features, as models read them
    outcome: Floats  # 0 or 1
    fold: Ints  # hash of the person
    instant: Ints  # any number that grows with time; all equal where there is no time

    def __len__(self) -> int:
        return len(self.outcome)

    def where(self, rows: Flags) -> "Sample":
        return Sample(self.values[rows], self.outcome[rows], self.fold[rows], self.instant[rows])

    def without(self, columns: Sequence[int]) -> "Sample":
        values = np.delete(self.values, list(columns), axis=1)
        return Sample(values, self.outcome, self.fold, self.instant)


@dataclass(frozen=True)
class Ensemble:
    """Fold models of one kind, and a calibrator for each."""

    kind: str
    coding: Coding
    models: tuple[Fitted, ...]
    calibrators: tuple[Beta, ...]

    def margins(self, values: Floats, fold: Ints) -> Floats:
        """Log-odds before calibration: what the reasons add up to."""
        return by_fold(fold, len(self.models), lambda k, rows: self.models[k].margins(values[rows]))

    def calibrated(self, margins: Floats, fold: Ints) -> Floats:
        """Published probabilities from margins."""
        from scipy.special import expit

        logits = by_fold(fold, len(self.models), lambda k, rows: self.calibrators[k](margins[rows]))
        return np.asarray(np.round(expit(logits), DIGITS), np.float64)

    def probabilities(self, values: Floats, fold: Ints) -> Floats:
        return self.calibrated(self.margins(values, fold), fold)

    def contributions(self, values: Floats, fold: Ints) -> Floats:
        """Rows x features, in log-odds; with the fold model's base they add up to the margin."""
        out = np.empty(values.shape)
        for k, model in enumerate(self.models):
            rows = fold == k
            if rows.any():
                out[rows] = model.contributions(values[rows])
        return out

    def prepare(self) -> Iterator[None]:
        """Make contributions of a few rows faster from now on, a fold model at a time."""
        for model in self.models:
            candidates.prepare(model)
            yield

    def spread(self, values: Floats) -> Floats:
        """How far the fold models are apart, by row: standard deviation of their calibrated log-odds."""
        pairs = zip(self.models, self.calibrators, strict=True)
        logits = [calibrate(model.margins(values)) for model, calibrate in pairs]
        return np.asarray(np.std(logits, axis=0), np.float64)

    def to_files(self) -> dict[str, str]:
        files = {f"fold_{k}.txt": model.to_text() for k, model in enumerate(self.models)}
        files["coding.json"] = json.dumps(self.coding.to_json(), indent=1)
        files["calibration.json"] = json.dumps([one.to_json() for one in self.calibrators], indent=1)
        return files

    @classmethod
    def from_files(cls, kinds: Sequence[str], kind: str, files: Mapping[str, str]) -> "Ensemble":
        """Read what `to_files` wrote; `kinds` are the fold models' own. Raises ModelMismatch if parts lack."""
        try:
            models = tuple(candidates.read(one, files[f"fold_{k}.txt"]) for k, one in enumerate(kinds))
            coding = Coding.from_json(json.loads(files["coding.json"]))
            calibrators = tuple(Beta(**one) for one in json.loads(files["calibration.json"]))
        except (KeyError, TypeError, ValueError) as problem:
            raise ModelMismatch(f"The stored model cannot be read ({problem}): train again.") from problem
        return cls(kind, coding, models, calibrators)


def by_fold(fold: Ints, folds: int, of: Callable[[int, Flags], Floats]) -> Floats:
    """Put together a column whose rows each fold computes its own way."""
    out = np.full(len(fold), np.nan)
    for k in range(folds):
        rows = fold == k
        if rows.any():
            out[rows] = of(k, rows)
    return out


def fit(sample: Sample, coding: Coding, kinds: Sequence[str], folds: int, seed: int) -> dict[str, Ensemble]:
    """An ensemble for each kind, and for their average if there are several. Folds run side by side."""
    tasks = [(kind, k) for kind in kinds for k in range(folds)]

    def one(task: tuple[str, int]) -> Fitted:
        kind, k = task
        rest = sample.where(sample.fold != k)
        positives = rest.outcome.sum()
        if kind not in candidates.FITS or positives < 1 or positives == len(rest) or not coding.features:
            return candidates.constant(rest.outcome)
        return candidates.FITS[kind](rest.values, rest.outcome, coding, seed)

    libraries.load()
    # Folds already run side by side: threads inside linear algebra would only fight over the cores. And a
    # calibrator is so small a problem that waking a second thread takes longer than solving it.
    with threadpool_limits(1, user_api="blas"):
        with ThreadPoolExecutor(_THREADS) as pool:
            fitted = dict(zip(tasks, pool.map(one, tasks), strict=True))
        models = {kind: tuple(fitted[kind, k] for k in range(folds)) for kind in kinds}
        margins = {kind: _margins(models[kind], sample) for kind in kinds}
        if len(kinds) > 1:
            models["average"] = tuple(Average(tuple(models[kind][k] for kind in kinds)) for k in range(folds))
            margins["average"] = np.mean([margins[kind] for kind in kinds], axis=0)
        recent = sample.instant == sample.instant.max(initial=0)
        return {
            kind: Ensemble(
                kind,
                coding,
                models[kind],
                cross_fitted(margins[kind], sample.outcome, sample.fold, folds, recent),
            )
            for kind in models
        }


def _margins(models: tuple[Fitted, ...], sample: Sample) -> Floats:
    return by_fold(sample.fold, len(models), lambda k, rows: models[k].margins(sample.values[rows]))

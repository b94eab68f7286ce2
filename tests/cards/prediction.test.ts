import { describe, expect, test } from 'vitest';

import { failed, fieldNames, loading, view, type Value } from './build/hubspot/src/app/cards/prediction.js';
import { settings } from './build/hubspot/src/app/cards/settings.js';
import { NOW, RECORDS, named } from './records';

const seen = (record: Record<string, Value>) => view(named(record, settings.fields), settings, NOW);

test('a record with everything is told in words', () => {
  const shown = seen(RECORDS.ready);
  expect(shown.state).toBe('ready');
  expect(shown).toMatchObject({ score: 91, grade: 'A', probability: '73%', message: '', reasonsNote: '' });
  expect(shown.likely).toBe('73% likely: a deal won within 90 days');
  expect(shown.reasonsFor).toEqual(['visited the pricing page 4 times in 7 days', 'Seniority is Director']);
  expect(shown.reasonsAgainst).toEqual(['no reply to 6 e-mails']);
  expect(shown.send).toEqual({ when: 'Tuesday at 09:00', source: 'from what this contact did' });
  expect(shown.segment).toEqual({ name: 'Frequent website visitors', description: 'Visits often, clicks little.' });
  expect(shown.confidence?.label).toBe('High');
  expect(shown.scored).toEqual({ when: '23 Nov 2026, 08:00 UTC', age: '2 days ago' });
  expect(shown.models).toEqual(['lead_score-2026-11-01-1a2b3c4d', 'send_time-2026-11-01-5e6f7a8b']);
  expect(shown.holdout).toBe(false);
});

test('only our fields are asked for, each once', () => {
  const names = fieldNames(settings);
  expect(new Set(names)).toEqual(new Set(Object.values(settings.fields)));
  expect(names).toHaveLength(12);
  expect(names.every((name) => name.startsWith('leadlight_'))).toBe(true);
});

test('no value is not a zero', () => {
  expect(seen(RECORDS.empty)).toMatchObject({ state: 'empty', score: null, probability: '', holdout: false });
  expect(seen({ ...RECORDS.empty, score: '0' })).toMatchObject({ state: 'ready', score: 0 });
  expect(seen({ ...RECORDS.empty, score: '' }).state).toBe('empty');
});

test('what may not be read is told apart from what is empty', () => {
  expect(view({}, settings, NOW).state).toBe('denied');
});

test('a prediction runs out with its horizon, not before', () => {
  const days = (age: number) => seen({ ...RECORDS.ready, scored_at: String(NOW - age * 86_400_000) });
  expect(days(89).state).toBe('ready');
  expect(days(90).state).toBe('stale');
  expect(days(90).message).toContain('90 days ago');
  expect(days(-2)).toMatchObject({ state: 'ready', scored: { age: 'today' } });
  expect(days(1).scored?.age).toBe('yesterday');
});

test('who is held out has no score on purpose', () => {
  const shown = seen(RECORDS.holdout);
  expect(shown).toMatchObject({ state: 'ready', holdout: true, score: null, title: 'In the holdout' });
  expect(shown.message).toContain('at random');
  expect(seen({ ...RECORDS.empty, holdout: 'true' })).toMatchObject({ state: 'empty', title: 'No score on purpose' });
});

test('an old prediction in the holdout says both', () => {
  const shown = seen({ ...RECORDS.holdout, scored_at: String(NOW - 120 * 86_400_000) });
  expect(shown).toMatchObject({ state: 'stale', holdout: true, title: 'In the holdout, and out of date' });
  expect(shown.message).toContain('at random');
  expect(shown.message).toContain('120 days ago');
});

test('a segment without a score says why there is none', () => {
  expect(seen(RECORDS.withoutScore)).toMatchObject({ state: 'ready', likely: '', reasonsFor: [] });
  expect(seen(RECORDS.withoutScore).title).toBe('No score');
});

describe('values as the platforms give them', () => {
  test.each([
    ['0.0004', 'under 0.1%'],
    ['0.0407', '4.1%'],
    ['0.5', '50%'],
    ['0.9951', 'over 99%'],
    ['1', 'over 99%'],
  ])('probability %s is %s', (given, told) => {
    expect(seen({ ...RECORDS.ready, probability: given }).probability).toBe(told);
  });

  test('numbers and booleans of Salesforce mean the same as texts', () => {
    const typed = { ...RECORDS.ready, score: 91, probability: 0.7312, send_hour: 9, holdout: false };
    expect(seen(typed)).toEqual(seen({ ...RECORDS.ready, holdout: 'false' }));
    expect(seen({ ...RECORDS.ready, holdout: true }).holdout).toBe(true);
  });

  test('what is no number, date or known word is left out', () => {
    const odd = { ...RECORDS.ready, score: 'x', scored_at: 'yesterday', send_hour: '24', confidence: 'certain' };
    expect(seen(odd)).toMatchObject({ score: null, scored: null, send: null, confidence: null });
  });

  test('an unknown segment keeps its id', () => {
    expect(seen({ ...RECORDS.ready, segment: 's77' }).segment).toEqual({ name: 's77', description: '' });
  });

  test('a semicolon inside a reason does not part it', () => {
    const reasons = '+ Product is A; B; − Size is 1-10';
    expect(seen({ ...RECORDS.ready, reasons })).toMatchObject({
      reasonsFor: ['Product is A; B'],
      reasonsAgainst: ['Size is 1-10'],
    });
  });

  test('a text without signs is shown as it stands', () => {
    const reasons = 'No single reason stands out';
    expect(seen({ ...RECORDS.ready, reasons })).toMatchObject({ reasonsFor: [], reasonsNote: reasons });
  });
});

test('loading and failure are views too', () => {
  expect(loading()).toMatchObject({ state: 'loading', score: null });
  expect(failed(settings).state).toBe('error');
  expect(failed(settings).message).toContain('HubSpot');
});

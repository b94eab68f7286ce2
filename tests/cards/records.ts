/** One record a state of the card, as HubSpot gives them out: every value is a text. */
export const NOW = Date.parse('2026-11-25T09:00:00Z');

const GOOD: Record<string, string | null> = {
  score: '91',
  probability: '0.7312',
  grade: 'A',
  reasons: '+ visited the pricing page 4 times in 7 days; + Seniority is Director; − no reply to 6 e-mails',
  confidence: 'high',
  send_hour: '9',
  send_weekday: 'tuesday',
  send_source: 'personal',
  segment: 's3',
  holdout: null,
  model: 'lead_score-2026-11-01-1a2b3c4d; send_time-2026-11-01-5e6f7a8b',
  scored_at: '2026-11-23T08:00:00.000Z',
};

const EMPTY = Object.fromEntries(Object.keys(GOOD).map((name) => [name, null]));

export const RECORDS: Record<string, Record<string, string | null>> = {
  ready: GOOD,
  stale: { ...GOOD, scored_at: String(NOW - 120 * 86_400_000) },
  empty: EMPTY,
  holdout: { ...EMPTY, send_hour: '9', send_weekday: 'tuesday', send_source: 'segment', segment: 's3', holdout: 'true', scored_at: GOOD.scored_at },
  withoutScore: { ...GOOD, score: null, probability: null, grade: null, reasons: null, confidence: null },
  // Somebody wrote markup into fields that predictions quote.
  markup: {
    ...GOOD,
    reasons: '+ Industry is <script>alert(1)</script>; − City is <img src=x onerror=alert(1)>',
    segment: '<b onclick=alert(1)>s3</b>',
    model: '<iframe src=javascript:alert(1)>',
  },
  long: {
    ...GOOD,
    score: '7',
    probability: '0.0407',
    grade: 'D',
    confidence: 'low',
    send_source: 'default',
    reasons: `+ ${'a value that somebody wrote at length into a text field and nobody ever shortened '.repeat(3)}; − Company size is 1-10; 11-50; − Seniority is Intern`,
    model: 'lead_score-2026-11-01-1a2b3c4d; lead_score-2026-11-01-99887766; segments-2026-11-01-0a1b2c3d; send_time-2026-11-01-5e6f7a8b',
  },
};

/** A record under the names that an account gives our fields. */
export function named(record: Record<string, unknown>, fields: Record<string, string>): Record<string, never> {
  return Object.fromEntries(Object.entries(record).map(([field, value]) => [fields[field], value])) as never;
}

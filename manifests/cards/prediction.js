/**
 * What a record card shows, worked out from our properties alone. Pure functions without a platform: the HubSpot
 * card and the Salesforce component lay out what `view` returns, so that both say the same in the same words.
 *
 * @typedef {string | number | boolean | null | undefined} Value
 *
 * What the card knows besides the record, written by `leadlight manifest` from the models in use.
 * @typedef {object} Settings
 * @property {string} account the platform, for messages ("HubSpot", "Salesforce")
 * @property {Record<Field, string>} fields ours -> the name on the record
 * @property {string | null} goal what the probability is of ("a deal won within 90 days"); null: not known
 * @property {number} staleDays age in days from which a prediction has run out
 * @property {Record<string, {name: string, description: string}>} segments by id
 * @property {string[]} models in use when the project was written
 * @property {string[] | null} watched "contact: industry": changes that are heard of at once; null: none are
 *
 * @typedef {'score' | 'probability' | 'grade' | 'reasons' | 'confidence' | 'send_hour' | 'send_weekday'
 *   | 'send_source' | 'segment' | 'holdout' | 'model' | 'scored_at'} Field
 *
 * @typedef {object} View
 * @property {'loading' | 'error' | 'denied' | 'empty' | 'stale' | 'ready'} state
 * @property {string} title of a notice (message), where there is one
 * @property {string} message what to know or to do; empty where there is nothing to say
 * @property {number | null} score 0 to 100
 * @property {string} grade
 * @property {string} probability "73%"; empty where there is none
 * @property {string} likely the probability with what it is of
 * @property {string[]} reasonsFor
 * @property {string[]} reasonsAgainst
 * @property {string} reasonsNote what stands where there are no reasons
 * @property {{when: string, source: string} | null} send
 * @property {{name: string, description: string} | null} segment
 * @property {{label: string, meaning: string} | null} confidence
 * @property {{when: string, age: string} | null} scored
 * @property {string[]} models
 * @property {boolean} holdout
 */

/** Every field a card reads; nothing else of the record is asked for. */
export const FIELDS = /** @type {const} */ ([
  'score',
  'probability',
  'grade',
  'reasons',
  'confidence',
  'send_hour',
  'send_weekday',
  'send_source',
  'segment',
  'holdout',
  'model',
  'scored_at',
]);

const DAY = 86_400_000;
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
const WEEKDAYS = ['monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday'];

/** @type {Record<string, string>} */
const SOURCES = {
  personal: 'from what this contact did',
  segment: 'from what similar contacts did',
  default: 'the best hour for everyone',
};

/** @type {Record<string, string>} */
const CONFIDENCE = {
  high: 'Much is known of this contact, and the models agree.',
  medium: 'Enough is known to go by, but not much.',
  low: 'Little is known of this contact: take the score as a hint.',
};

const HOLDOUT =
  'Chosen at random, so that the worth of acting on predictions can be measured: treat this contact as you would ' +
  'without one.';
const NO_SCORE = 'The goal is reached already, or too little is known to score this contact.';

/**
 * The names to ask the platform for.
 * @param {Settings} settings
 * @returns {string[]}
 */
export function fieldNames(settings) {
  return FIELDS.map((field) => settings.fields[field]);
}

/** @returns {View} */
export function loading() {
  return { ...blank(), state: 'loading', message: 'Loading the prediction…' };
}

/**
 * @param {Settings} settings
 * @returns {View}
 */
export function failed(settings) {
  return {
    ...blank(),
    state: 'error',
    title: 'The prediction could not be read',
    message:
      `${settings.account} did not give out this record's values. Reload the page; if it stays like this, ask your ` +
      'administrator whether Leadlight is installed here.',
  };
}

/**
 * @param {Record<string, Value>} record values by their names on the record; undefined: may not be read
 * @param {Settings} settings
 * @param {number} now epoch milliseconds
 * @returns {View}
 */
export function view(record, settings, now) {
  /** @param {Field} field */
  const raw = (field) => record[settings.fields[field]];
  if (FIELDS.every((field) => raw(field) === undefined)) {
    return {
      ...blank(),
      state: 'denied',
      title: 'You may not see predictions',
      message: 'Your administrator can install Leadlight here, and give you access to its values.',
    };
  }
  const score = number(raw('score'));
  const probability = number(raw('probability'));
  const scored = instant(raw('scored_at'));
  const age = scored === null ? null : Math.max(0, Math.floor((now - scored) / DAY));
  const stale = age !== null && age >= settings.staleDays;
  const send = sendTime(raw('send_hour'), raw('send_weekday'), raw('send_source'));
  const segment = segmentOf(raw('segment'), settings);
  const holdout = text(raw('holdout')) === 'true';
  const { reasonsFor, reasonsAgainst, reasonsNote } = reasons(text(raw('reasons')));
  const shown = {
    ...blank(),
    score: score === null ? null : Math.round(score),
    grade: text(raw('grade')),
    probability: probability === null ? '' : percent(probability),
    likely: likely(probability, settings.goal),
    reasonsFor,
    reasonsAgainst,
    reasonsNote,
    send,
    segment,
    confidence: confidence(text(raw('confidence'))),
    scored: scored === null || age === null ? null : { when: utc(scored), age: ago(age) },
    models: text(raw('model'))
      .split(';')
      .map((name) => name.trim())
      .filter(Boolean),
    holdout,
  };
  if (score === null && send === null && segment === null) {
    return {
      ...shown,
      state: 'empty',
      title: holdout ? 'No score on purpose' : 'No prediction yet',
      message: holdout
        ? HOLDOUT
        : 'Too little is known of this contact so far, or the next sync has still to come. No value is not a zero.',
    };
  }
  if (stale) {
    // The date alone does not tell: values are written when they change, however often they are worked out anew.
    const old =
      `It was written ${ago(age)} and looks ${settings.staleDays} days ahead. What has not changed is not written ` +
      'again: before you act on it, ask your administrator whether Leadlight still syncs.';
    return {
      ...shown,
      state: 'stale',
      title: holdout ? 'In the holdout, and out of date' : 'This prediction may have run out',
      message: holdout ? `${HOLDOUT} ${old}` : old,
    };
  }
  if (holdout) {
    return { ...shown, state: 'ready', title: 'In the holdout', message: HOLDOUT };
  }
  return score === null ? { ...shown, state: 'ready', title: 'No score', message: NO_SCORE } : shown;
}

/** @returns {View} */
function blank() {
  return {
    state: 'ready',
    title: '',
    message: '',
    score: null,
    grade: '',
    probability: '',
    likely: '',
    reasonsFor: [],
    reasonsAgainst: [],
    reasonsNote: '',
    send: null,
    segment: null,
    confidence: null,
    scored: null,
    models: [],
    holdout: false,
  };
}

/** @param {Value} value */
function text(value) {
  return value === null || value === undefined ? '' : String(value).trim();
}

/** @param {Value} value */
function number(value) {
  const given = text(value);
  const parsed = given === '' ? NaN : Number(given);
  return Number.isFinite(parsed) ? parsed : null;
}

/**
 * Epoch milliseconds of an ISO instant or of a text of milliseconds: HubSpot gives out either.
 * @param {Value} value
 */
function instant(value) {
  const given = text(value);
  if (given === '') {
    return null;
  }
  const parsed = /^\d+$/.test(given) ? Number(given) : Date.parse(given);
  return Number.isFinite(parsed) ? parsed : null;
}

/** @param {number} probability */
function percent(probability) {
  if (probability < 0.001) {
    return 'under 0.1%';
  }
  if (probability > 0.99) {
    return 'over 99%';
  }
  return probability < 0.1 ? `${(100 * probability).toFixed(1)}%` : `${Math.round(100 * probability)}%`;
}

/**
 * @param {number | null} probability
 * @param {string | null} goal
 */
function likely(probability, goal) {
  if (probability === null) {
    return '';
  }
  return `${percent(probability)} likely${goal === null ? '' : `: ${goal}`}`;
}

/**
 * "+ visited the pricing page 4 times; − no reply" as two lists. A semicolon inside a reason does not part it.
 * @param {string} given
 */
function reasons(given) {
  const parts = given === '' ? [] : given.split(/;\s+(?=[+−-]\s)/u);
  /** @param {RegExp} sign */
  const signed = (sign) => parts.filter((part) => sign.test(part)).map((part) => part.replace(sign, ''));
  const reasonsFor = signed(/^\+\s+/u);
  const reasonsAgainst = signed(/^[−-]\s+/u);
  const unsigned = parts.length > reasonsFor.length + reasonsAgainst.length;
  return { reasonsFor, reasonsAgainst, reasonsNote: unsigned ? given : '' };
}

/**
 * @param {Value} hour
 * @param {Value} weekday
 * @param {Value} source
 */
function sendTime(hour, weekday, source) {
  const at = number(hour);
  if (at === null || at < 0 || at > 23) {
    return null;
  }
  const day = text(weekday).toLowerCase();
  const clock = `${two(at)}:00`;
  return {
    when: WEEKDAYS.includes(day) ? `${day[0].toUpperCase()}${day.slice(1)} at ${clock}` : clock,
    source: SOURCES[text(source).toLowerCase()] ?? '',
  };
}

/**
 * @param {Value} value
 * @param {Settings} settings
 */
function segmentOf(value, settings) {
  const id = text(value);
  if (id === '') {
    return null;
  }
  return settings.segments[id] ?? { name: id, description: '' };
}

/** @param {string} given */
function confidence(given) {
  const level = given.toLowerCase();
  const meaning = CONFIDENCE[level];
  return meaning === undefined ? null : { label: `${level[0].toUpperCase()}${level.slice(1)}`, meaning };
}

/** @param {number} milliseconds epoch */
function utc(milliseconds) {
  const at = new Date(milliseconds);
  const day = `${at.getUTCDate()} ${MONTHS[at.getUTCMonth()]} ${at.getUTCFullYear()}`;
  return `${day}, ${two(at.getUTCHours())}:${two(at.getUTCMinutes())} UTC`;
}

/** @param {number} value */
function two(value) {
  return String(Math.floor(value)).padStart(2, '0');
}

/** @param {number | null} days */
function ago(days) {
  if (days === null || days === 0) {
    return 'today';
  }
  return days === 1 ? 'yesterday' : `${days} days ago`;
}

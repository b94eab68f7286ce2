// @vitest-environment jsdom
import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import { LeadlightCard, createElement, getRecord } from './build/component.js';
import { settings } from './build/salesforce/force-app/main/default/lwc/leadlightCard/settings.js';
import { NOW, RECORDS, named } from './records';

beforeEach(() => {
  vi.useFakeTimers({ now: NOW, toFake: ['Date'] });
  getRecord.asked = [];
  getRecord.answer = () => undefined;
});

afterEach(() => {
  vi.useRealTimers();
  document.body.replaceChildren();
});

const record = (values) => ({
  data: { fields: Object.fromEntries(Object.entries(values).map(([name, value]) => [name, { value }])) },
  error: undefined,
});

async function card(answer) {
  getRecord.answer = () => answer;
  const element = createElement('c-leadlight-card', { is: LeadlightCard });
  element.recordId = '00Q000000000001AAA';
  element.objectApiName = 'Lead';
  document.body.appendChild(element);
  await Promise.resolve();
  return element.shadowRoot;
}

const shown = (state) => card(record(named(RECORDS[state], settings.fields)));
const texts = (root, selector) => [...root.querySelectorAll(selector)].map((node) => node.textContent);

test('asks for our fields of this object, none of them required', async () => {
  await shown('ready');
  const asked = getRecord.asked.at(-1);
  expect(asked.recordId).toBe('00Q000000000001AAA');
  expect(asked.fields).toEqual(['Lead.Id']);
  expect([...asked.optionalFields].sort()).toEqual(Object.values(settings.fields).map((name) => `Lead.${name}`).sort());
});

test('shows score, probability, grade, confidence and reasons both ways', async () => {
  const root = await shown('ready');
  expect(texts(root, '.score')).toEqual(['91']);
  expect(texts(root, '.likely')).toEqual(['73% likely: a deal won within 90 days']);
  expect(texts(root, '.tag')).toEqual(['Grade A', 'High confidence']);
  expect(texts(root, '.for li')).toEqual(['visited the pricing page 4 times in 7 days', 'Seniority is Director']);
  expect(texts(root, '.against li')).toEqual(['no reply to 6 e-mails']);
  expect(texts(root, 'dd')).toEqual([
    'Tuesday at 09:00 from what this contact did',
    'Frequent website visitors Visits often, clicks little.',
  ]);
  expect(texts(root, '.foot')).toEqual(['Written 2 days ago: 23 Nov 2026, 08:00 UTC']);
  expect(texts(root, '.banner')).toEqual([]);
});

test('says that it is loading until the page answers', async () => {
  const root = await card(undefined);
  expect(root.textContent).toContain('Loading');
});

test('an error says what to do, and nothing of what Salesforce answered', async () => {
  const root = await card({ data: undefined, error: { body: { message: 'mail a@b.example' } } });
  expect(texts(root, '.notice')).toEqual(['The prediction could not be read']);
  expect(root.textContent).not.toContain('@');
});

test('who may see no field is told whom to ask', async () => {
  const root = await card(record({ Id: '00Q000000000001AAA' }));
  expect(texts(root, '.notice')).toEqual(['You may not see predictions']);
});

test('an old prediction warns before it shows', async () => {
  const root = await shown('stale');
  expect(texts(root, '.banner.warning h3')).toEqual(['This prediction may have run out']);
  expect(texts(root, '.score')).toEqual(['91']);
});

test('a contact in the holdout is marked, and has no score', async () => {
  const root = await shown('holdout');
  expect(texts(root, '.banner h3')).toEqual(['In the holdout']);
  expect(texts(root, '.score')).toEqual([]);
});

test('an empty record says that no value is not a zero', async () => {
  const root = await shown('empty');
  expect(root.textContent).toContain('No value is not a zero');
});

test('markup in a value is a text', async () => {
  const root = await shown('markup');
  expect(texts(root, '.for li')).toEqual(['Industry is <script>alert(1)</script>']);
  expect(texts(root, '.against li')).toEqual(['City is <img src=x onerror=alert(1)>']);
  expect(root.querySelectorAll('script, img, b, iframe, [onclick], [onerror]')).toHaveLength(0);
});

test('the number says what it is of', async () => {
  const root = await shown('ready');
  expect(texts(root, '.what')).toEqual(['Lead score']);
});

test('nothing of a record is logged', async () => {
  const logs = ['log', 'info', 'warn', 'error', 'debug'].map((name) => vi.spyOn(console, name));
  await shown('ready');
  await card({ data: undefined, error: { body: { message: 'mail a@b.example' } } });
  for (const log of logs) {
    expect(log).not.toHaveBeenCalled();
    log.mockRestore();
  }
});

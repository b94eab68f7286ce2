import {
  Alert,
  Button,
  EmptyState,
  ErrorState,
  List,
  LoadingSpinner,
  ScoreCircle,
  StatusTag,
  Text,
} from '@hubspot/ui-extensions';
import { createRenderer } from '@hubspot/ui-extensions/testing';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import { Prediction } from './build/hubspot/src/app/cards/Prediction';
import { settings } from './build/hubspot/src/app/cards/settings.js';
import { About } from './build/hubspot/src/app/settings/About';
import { NOW, RECORDS, named } from './records';

beforeEach(() => void vi.useFakeTimers({ now: NOW, toFake: ['Date'] }));
afterEach(() => void vi.useRealTimers());

type Answer = { properties?: Record<string, string | null>; error?: Error; isLoading?: boolean; refetch?: () => Promise<void> };

function card(answer: Answer) {
  const renderer = createRenderer('crm.record.tab');
  renderer.mocks.useCrmProperties.willCall(() => ({
    properties: {},
    error: null,
    isLoading: false,
    isRefetching: false,
    refetch: () => Promise.resolve(),
    ...answer,
  }));
  renderer.render(<Prediction />);
  return renderer;
}

const shown = (state: string) => card({ properties: named(RECORDS[state], settings.fields) });
const texts = (renderer: ReturnType<typeof card>) => renderer.findAll(Text).map((node) => node.text);

test('reads our properties and nothing else', () => {
  const { mocks } = shown('ready');
  expect(mocks.useCrmProperties.calls[0][0].sort()).toEqual(Object.values(settings.fields).sort());
});

test('shows score, probability, grade, confidence and reasons both ways', () => {
  const renderer = shown('ready');
  expect(renderer.find(ScoreCircle).props.score).toBe(91);
  expect(renderer.findAll(StatusTag).map((tag) => tag.text)).toEqual(['Grade A', 'High confidence']);
  expect(renderer.findAll(List)).toHaveLength(2);
  expect(texts(renderer)).toEqual(
    expect.arrayContaining([
      '73% likely: a deal won within 90 days',
      'Speaks for',
      'visited the pricing page 4 times in 7 days',
      'Speaks against',
      'no reply to 6 e-mails',
      'Tuesday at 09:00',
      'Frequent website visitors',
      'Visits often, clicks little.',
      'Written 2 days ago: 23 Nov 2026, 08:00 UTC',
      'Model lead_score-2026-11-01-1a2b3c4d',
    ]),
  );
  expect(renderer.findAll(Alert)).toHaveLength(0);
});

test('says that it is loading', () => {
  expect(card({ isLoading: true }).find(LoadingSpinner).props.label).toContain('Loading');
});

test('an error can be tried again, and says nothing of what HubSpot answered', () => {
  const refetch = vi.fn(() => Promise.resolve());
  const renderer = card({ error: new Error('mail a@b.example'), refetch });
  expect(renderer.find(ErrorState).props.title).toBe('The prediction could not be read');
  expect(texts(renderer).join()).not.toContain('@');
  renderer.find(Button).trigger('onClick');
  expect(refetch).toHaveBeenCalledTimes(1);
});

test('an old prediction warns before it shows', () => {
  const renderer = shown('stale');
  expect(renderer.find(Alert).props).toMatchObject({ variant: 'warning', title: 'This prediction may have run out' });
  expect(renderer.find(ScoreCircle).props.score).toBe(91);
});

test('a contact in the holdout is marked, and has no score', () => {
  const renderer = shown('holdout');
  expect(renderer.find(Alert).props.title).toBe('In the holdout');
  expect(renderer.findAll(ScoreCircle)).toHaveLength(0);
  expect(texts(renderer)).toContain('Tuesday at 09:00');
});

test('an empty record says that no value is not a zero', () => {
  const renderer = shown('empty');
  expect(renderer.find(EmptyState).props.title).toBe('No prediction yet');
  expect(texts(renderer).join()).toContain('No value is not a zero');
});

test('properties that do not exist are no empty record', () => {
  expect(card({ properties: {} }).find(ErrorState).props.type).toBe('lock');
});

test('markup in a value is a text', () => {
  const renderer = shown('markup');
  expect(texts(renderer)).toEqual(
    expect.arrayContaining(['Industry is <script>alert(1)</script>', 'City is <img src=x onerror=alert(1)>']),
  );
});

test('nothing of a record is logged', () => {
  const logs = (['log', 'info', 'warn', 'error', 'debug'] as const).map((name) => vi.spyOn(console, name));
  shown('ready');
  card({ error: new Error('mail a@b.example') });
  for (const log of logs) {
    expect(log).not.toHaveBeenCalled();
    log.mockRestore();
  }
});

test('the settings page lists what is written and what is heard of', () => {
  const { render, findAll } = createRenderer('settings');
  render(<About />);
  const told = findAll(Text).map((node) => node.text);
  expect(told).toEqual(expect.arrayContaining([...Object.values(settings.fields), 'contact: industry']));
  expect(told).toContain('a deal won within 90 days');
});

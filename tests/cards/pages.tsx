/** One page a card and state: path -> HTML. */
import { renderToStaticMarkup } from 'react-dom/server';

import { Prediction } from './build/hubspot/src/app/cards/Prediction';
import { settings as ofHubSpot } from './build/hubspot/src/app/cards/settings.js';
import { settings as ofSalesforce } from './build/salesforce/force-app/main/default/lwc/leadlightCard/settings.js';
import { About } from './build/hubspot/src/app/settings/About';
import { NOW, RECORDS, named } from './records';
import { answerWith } from './standins/hubspot';

const STYLE = `
  body { font: 14px/1.5 sans-serif; margin: 16px; color: #222; background: #fff; }
  p, h2, ul, dl, dd { margin: 0; } h2 { font-size: 16px; } ul { padding-left: 20px; } dt, .demibold { font-weight: 600; }
  .flex { display: flex; gap: 4px; } .column { flex-direction: column; } .md { gap: 16px; } .sm { gap: 8px; }
  .alert { border-left: 4px solid #0091ae; background: #eef6f8; padding: 8px 12px; } .alert.warning { border-color: #dbae60; background: #fef8f0; }
  .score { flex: none; width: 64px; height: 64px; border: 4px solid #0091ae; border-radius: 50%; display: grid; place-items: center; font-size: 24px; font-weight: 700; }
  .microcopy { font-size: 12px; color: #555; } .tag { border: 1px solid #888; border-radius: 10px; padding: 0 8px; } .tag.success { border-color: #1f7a4d; color: #1f7a4d; } .tag.warning { border-color: #9a5b00; color: #9a5b00; }
  .state { text-align: center; padding: 24px 0; } p, li, dd { overflow-wrap: anywhere; } .card { border: 1px solid #ddd; border-radius: 4px; }
  .card h2 { padding: 12px 16px; }`;

const page = (body: string) =>
  `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Card</title><style>${STYLE}</style><body>${body}</body></html>`;

/** How the platform answers in each state: a record, nothing yet, an error, or a record without our fields. */
const ANSWERS: Record<string, Record<string, string | null> | 'loading' | 'error' | 'denied'> = {
  ...RECORDS,
  loading: 'loading',
  error: 'error',
  denied: 'denied',
};

function ofCard(answer: (typeof ANSWERS)[string]) {
  answerWith({
    properties: typeof answer === 'string' ? {} : named(answer, ofHubSpot.fields),
    error: answer === 'error' ? new Error('no') : null,
    isLoading: answer === 'loading',
    refetch: () => Promise.resolve(),
  });
  return renderToStaticMarkup(<Prediction />);
}

function ofComponent(answer: (typeof ANSWERS)[string]) {
  const fields = Object.entries(typeof answer === 'string' ? {} : named(answer, ofSalesforce.fields));
  const record = { data: { fields: Object.fromEntries(fields.map(([name, value]) => [name, { value }])) } };
  // A value that holds markup must not end the script that it stands in.
  const json = JSON.stringify(answer === 'error' ? { error: {} } : record).replaceAll('<', '\\u003c');
  const given = answer === 'loading' ? 'undefined' : json;
  return `<script src="../component.iife.js"></script><script>
    component.getRecord.answer = () => (${given});
    const card = component.createElement('c-leadlight-card', { is: component.LeadlightCard });
    Object.assign(card, { recordId: '00Q000000000001AAA', objectApiName: 'Lead' });
    document.body.append(card);
  </script>`;
}

export function pages(): Record<string, string> {
  Date.now = () => NOW;
  const clock = `<script>Date.now = () => ${NOW};</script>`;
  const found: Record<string, string> = { 'hubspot-settings': page(renderToStaticMarkup(<About />)) };
  for (const [state, answer] of Object.entries(ANSWERS)) {
    found[`hubspot-${state}`] = page(ofCard(answer));
    found[`salesforce-${state}`] = page(clock + ofComponent(answer));
  }
  return found;
}

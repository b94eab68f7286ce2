/**
 * Compiles the Salesforce component with Salesforce's own compiler, for tests and for a look at it:
 * `build/component.js` (a module) and `build/component.iife.js` (for a page).
 */
import { fileURLToPath } from 'node:url';

import lwc from '@lwc/rollup-plugin';
import { rollup } from 'rollup';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const stand = (name) => ({ name: `lightning/${name}`, path: here(`standins/lightning/${name}/${name}.js`) });

const bundle = await rollup({
  input: here('standins/component.js'),
  plugins: [
    lwc({
      rootDir: here('standins'),
      modules: [
        stand('card'),
        stand('spinner'),
        stand('uiRecordApi'),
        { name: 'c/leadlightCard', path: here('build/salesforce/force-app/main/default/lwc/leadlightCard/leadlightCard.js') },
      ],
    }),
  ],
  onwarn: (warning) => {
    throw new Error(warning.message);
  },
});
await bundle.write({ file: here('build/component.js'), format: 'es' });
await bundle.write({
  file: here('build/component.iife.js'),
  format: 'iife',
  name: 'component',
  intro: 'const process = { env: { NODE_ENV: "development" } };',
});

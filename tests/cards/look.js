/** Writes `build/pages/<platform>-<state>.html`: the cards in every state, to be looked at in a browser. */
import { mkdir, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

import { createServer } from 'vite';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const standIn = here('standins/hubspot.tsx');

const server = await createServer({
  configFile: false,
  root: here('.'),
  server: { middlewareMode: true, ws: false },
  appType: 'custom',
  logLevel: 'error',
  optimizeDeps: { noDiscovery: true },
  esbuild: { jsx: 'automatic' },
  resolve: { alias: { '@hubspot/ui-extensions/crm': standIn, '@hubspot/ui-extensions': standIn } },
});
const { pages } = await server.ssrLoadModule('/pages.tsx');
await mkdir(here('build/pages'), { recursive: true });
for (const [name, html] of Object.entries(pages())) {
  await writeFile(here(`build/pages/${name}.html`), html);
}
await server.close();

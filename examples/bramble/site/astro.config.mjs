import { defineConfig } from 'astro/config';

export default defineConfig({
  site: 'https://www.bramble-bakery.example',
  devToolbar: { enabled: false },
  build: { inlineStylesheets: 'never' },
  // Every asset becomes a file of its own: nothing is inlined into pages or stylesheets.
  vite: { build: { assetsInlineLimit: 0 } },
});

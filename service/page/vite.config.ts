import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

export default defineConfig({
  // Relative addresses: the page works under any path that a proxy serves it at.
  base: './',
  plugins: [svelte()],
  build: {
    target: 'es2022',
    // The Content-Security-Policy allows no data: fonts or scripts; every asset is a file.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  // `npm run dev` beside `toco up`.
  server: { proxy: { '/v1': 'http://127.0.0.1:8000' } },
});

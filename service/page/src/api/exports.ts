/** Exports of a job: asked for, watched, saved. */

import { session } from '../state/session.svelte';
import { address, getJson, send, sendJson } from './request';
import type { Export, ExportRequest, Format } from './types';

export const listFormats = (signal?: AbortSignal) => getJson<Format[]>('formats', signal);

export const listExports = (job: string, signal?: AbortSignal) =>
  getJson<Export[]>(`jobs/${job}/exports`, signal);

export const getExport = (job: string, id: string, signal?: AbortSignal) =>
  getJson<Export>(`jobs/${job}/exports/${id}`, signal);

export const requestExport = (job: string, wanted: ExportRequest) =>
  sendJson<Export>(`jobs/${job}/exports`, { method: 'POST', json: wanted, repeatable: true });

/** Save a finished export as a file. */
export async function saveExport(found: Export): Promise<void> {
  const path = `jobs/${found.job}/exports/${found.id}/download`;
  const name = `${found.job}-${found.format}.zip`;
  // Without a key the browser can fetch the zip itself; with one it cannot send the header.
  if (!session.key) saveAddress(address(path), name);
  else await saveResponse(path, name);
}

/** Fetch a file of the API and save it. */
export async function saveResponse(path: string, name: string): Promise<void> {
  const url = URL.createObjectURL(await (await send(path)).blob());
  saveAddress(url, name);
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

function saveAddress(url: string, name: string): void {
  const anchor = document.createElement('a');
  anchor.href = url;
  anchor.download = name;
  anchor.click();
}

/** Exports of a job or a data set: asked for, watched, saved. */

import { session } from '../state/session.svelte';
import { isOf, placeOf, type Subject } from './data_sets';
import { address, getJson, send, sendJson } from './request';
import type { Export, ExportRequest, Format } from './types';

export const listFormats = (signal?: AbortSignal) => getJson<Format[]>('formats', signal);

export const listExports = async (of: Subject, signal?: AbortSignal) =>
  (await getJson<Export[]>(`jobs/${of.job}/exports`, signal)).filter(isOf(of));

/** An export as it stands by now. */
export const getExport = ({ job, id }: Export, signal?: AbortSignal) =>
  getJson<Export>(`jobs/${job}/exports/${id}`, signal);

export const requestExport = (of: Subject, wanted: ExportRequest) =>
  sendJson<Export>(`${placeOf(of)}/exports`, { method: 'POST', json: wanted, repeatable: true });

/** Save a finished export as a file. */
export async function saveExport(found: Export): Promise<void> {
  const path = `jobs/${found.job}/exports/${found.id}/download`;
  const name = `${found.data_set || found.job}-${found.format}.zip`;
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

/** Revisions of an item's label, and what strokes on its photo take. */

import { getJson, sendJson } from './request';
import type { Change, Item, Job, Relearning, Revision, TakenRegion, Thresholds } from './types';

export interface SentStroke {
  value: number;
  width: number;
  points: [number, number][];
}

export const listRevisions = async (job: string, item: string, signal?: AbortSignal) =>
  (await getJson<{ revisions: Revision[] }>(`jobs/${job}/items/${item}/revisions`, signal)).revisions;

/** Make a mask the current revision; refused (412) where another than `expected` is current by now. */
export const putMask = (
  { job, id }: Item,
  mask: Blob,
  { how, expected, accept = false }: { how: 'brush' | 'upload'; expected: number; accept?: boolean },
) =>
  sendJson<Revision>(`jobs/${job}/items/${id}/mask?how=${how}${accept ? '&accept=true' : ''}`, {
    method: 'PUT',
    body: mask,
    headers: { 'if-match': `"${expected}"` },
  });

/** Go back to an older revision, or forth. */
export const chooseRevision = (job: string, item: string, number: number, expected: number) =>
  sendJson<Revision>(`jobs/${job}/items/${item}/revisions/${number}/current`, {
    method: 'POST',
    headers: { 'if-match': `"${expected}"` },
    repeatable: true,
  });

/** What strokes take; no strokes have the photo made ready. */
export const takeAlike = async (
  job: string,
  item: string,
  asked: { strokes: SentStroke[]; reach: number; touching: boolean },
  signal?: AbortSignal,
) =>
  (
    await sendJson<{ regions: TakenRegion[] }>(`jobs/${job}/items/${item}/strokes`, {
      method: 'POST',
      json: asked,
      signal,
      repeatable: true,
    })
  ).regions;

/** Have the label made again with other thresholds, as the item's next revision; the answer is the job that does it. */
export const reviseThresholds = (
  job: string,
  item: string,
  options: { thresholds: Thresholds; ignore_band: boolean },
  expected: number,
) =>
  sendJson<Job>(`jobs/${job}/items/${item}/revisions`, {
    method: 'POST',
    json: { options },
    headers: { 'if-match': `"${expected}"` },
  });

/** Have the label of an item made again with other tags, likewise. */
export const changeTags = ({ job, id, revision }: Item, tags: readonly string[]) =>
  sendJson<Job>(`jobs/${job}/items/${id}/tags`, {
    method: 'PATCH',
    json: { tags },
    headers: { 'if-match': `"${revision?.number ?? 0}"` },
  });

/** Learn from the masks that people corrected, and label again what nobody decided. */
export const relearn = (job: string) => sendJson<Relearning>(`jobs/${job}/relearn`, { method: 'POST' });

export const listRelearnings = (job: string, signal?: AbortSignal) =>
  getJson<Relearning[]>(`jobs/${job}/relearn`, signal);

export const listChanges = async (job: string, relearning: string, signal?: AbortSignal) =>
  (await getJson<{ changes: Change[] }>(`jobs/${job}/relearn/${relearning}/changes`, signal)).changes;

/** Take back what was learnt again, but for what people changed since. */
export const undoRelearning = (job: string, relearning: string) =>
  sendJson<{ items: number }>(`jobs/${job}/relearn/${relearning}/undo`, { method: 'POST', repeatable: true });

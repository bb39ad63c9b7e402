/** Revisions of an item's label, and what strokes on its photo take. */

import { getBlob, getJson, sendJson } from './request';
import type { Revision, TakenRegion } from './types';

export interface SentStroke {
  value: number;
  width: number;
  points: [number, number][];
}

export const listRevisions = async (job: string, item: string, signal?: AbortSignal) =>
  (await getJson<{ revisions: Revision[] }>(`jobs/${job}/items/${item}/revisions`, signal)).revisions;

export const getRevisionMask = (job: string, item: string, number: number, signal?: AbortSignal) =>
  getBlob(`jobs/${job}/items/${item}/revisions/${number}/mask.png`, signal);

/** Make a mask the current revision; refused (412) where another than `expected` is current by now. */
export const putMask = (job: string, item: string, mask: Blob, expected: number, accept: boolean) =>
  sendJson<Revision>(`jobs/${job}/items/${item}/mask?how=brush${accept ? '&accept=true' : ''}`, {
    method: 'PUT',
    body: mask,
    headers: { 'if-match': `"${expected}"`, 'content-type': 'image/png' },
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

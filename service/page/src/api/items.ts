/** Items of a job: found, judged; and their pictures. */

import { getBlob, getJson, sendJson } from './request';
import type { Decision, Item, ItemPage, NextItems } from './types';

export const findItems = (job: string, query: URLSearchParams, signal?: AbortSignal) =>
  getJson<ItemPage>(`jobs/${job}/items?${query}`, signal);

/** The undecided items that teach most, and what is left. */
export const nextItems = (job: string, limit: number, signal?: AbortSignal) =>
  getJson<NextItems>(`jobs/${job}/next?limit=${limit}`, signal);

export const getItem = (job: string, item: string, signal?: AbortSignal) =>
  getJson<Item>(`jobs/${job}/items/${item}`, signal);

export const decide = (job: string, item: string, decision: Decision | null) =>
  sendJson<Item>(`jobs/${job}/items/${item}`, { method: 'PATCH', json: { decision } });

export const getPhoto = (job: string, item: string, signal?: AbortSignal) =>
  getBlob(`jobs/${job}/items/${item}/image`, signal);

export const getPreview = (
  job: string,
  item: string,
  layer: 'photo' | 'overlay',
  side: number,
  signal?: AbortSignal,
) => getBlob(`jobs/${job}/items/${item}/preview?layer=${layer}&side=${side}`, signal);

export const getArtifact = (job: string, item: string, name: string, signal?: AbortSignal) =>
  getBlob(`jobs/${job}/items/${item}/artifacts/${encodeURIComponent(name)}`, signal);

export const getCam = (job: string, item: string, tag: string, signal?: AbortSignal) =>
  getBlob(`jobs/${job}/items/${item}/cams/${encodeURIComponent(tag)}`, signal);

/** What the gallery shows, as it stands in the page's address and as the API wants it. */

import type { Decision, ItemState, Measure } from '../api/types';

/** By a measure, or undecided labels so that the first ones teach most. */
export type Order = Measure | 'next';

export interface GalleryQuery {
  state: ItemState | '';
  tag: string;
  decision: Decision | 'none' | '';
  /** Bounds as shares, 0..1. */
  ignore: [number, number];
  area: [number, number];
  /** With words that are not understood, or tags without pixels. */
  words: 'open' | 'empty' | '';
  order: Order;
}

const EVERYTHING: readonly [number, number] = [0, 1];
// The end that deserves a look comes first; a low score is the doubtful one.
const ASCENDING: ReadonlySet<Order> = new Set(['index', 'score']);

export function readQuery(query: URLSearchParams): GalleryQuery {
  return {
    state: (query.get('state') ?? '') as GalleryQuery['state'],
    tag: query.get('tag') ?? '',
    decision: (query.get('decision') ?? '') as GalleryQuery['decision'],
    ignore: readRange(query.get('ignore')),
    area: readRange(query.get('area')),
    words: (query.get('words') ?? '') as GalleryQuery['words'],
    order: (query.get('order') ?? 'index') as Order,
  };
}

/** The page's address; what is as usual is left out. */
export function writeQuery(query: GalleryQuery): URLSearchParams {
  const written = new URLSearchParams();
  if (query.state) written.set('state', query.state);
  if (query.tag) written.set('tag', query.tag);
  if (query.decision) written.set('decision', query.decision);
  if (!isEverything(query.ignore)) written.set('ignore', query.ignore.join('-'));
  if (!isEverything(query.area)) written.set('area', query.area.join('-'));
  if (query.words) written.set('words', query.words);
  if (query.order !== 'index') written.set('order', query.order);
  return written;
}

/** The parameters of `GET /v1/jobs/{job}/items`, for every order that it knows. */
export function apiQuery(query: GalleryQuery): URLSearchParams {
  const asked = new URLSearchParams({ order: query.order });
  if (!ASCENDING.has(query.order)) asked.set('descending', 'true');
  if (query.state) asked.set('state', query.state);
  if (query.tag) asked.set('tag', query.tag);
  if (query.decision === 'none') asked.set('undecided', 'true');
  else if (query.decision) asked.set('decision', query.decision);
  if (query.words) asked.set(`${query.words}_tags`, 'true');
  for (const [name, range] of [
    ['ignore_ratio', query.ignore],
    ['area_ratio', query.area],
  ] as const) {
    if (isEverything(range)) continue;
    asked.set(`min_${name}`, String(range[0]));
    asked.set(`max_${name}`, String(range[1]));
  }
  return asked;
}

export function filterCount(query: GalleryQuery): number {
  const { order: _, ...filters } = query;
  return writeQuery({ ...filters, order: 'index' }).size;
}

function readRange(text: string | null): [number, number] {
  const [low, high] = (text ?? '').split('-').map(Number);
  return low !== undefined && high !== undefined && low >= 0 && high <= 1 && low <= high
    ? [low, high]
    : [0, 1];
}

function isEverything(range: readonly [number, number]): boolean {
  return range[0] === EVERYTHING[0] && range[1] === EVERYTHING[1];
}

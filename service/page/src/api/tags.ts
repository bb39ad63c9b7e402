/** What written words mean to a model, before photos are labelled. */

import { sendJson } from './request';
import type { TablePreview, TagCheck } from './types';

/**
 * Have tags looked at; nothing is stored.
 *
 * @param tags those of each photo.
 * @param manifest a table of tags, or none; counts instead of `tags`.
 * @param mapping own words and the classes that they stand for; an empty one is ignored.
 */
export function checkTags(
  tags: readonly (readonly string[])[],
  manifest: File | null,
  model: string,
  mapping: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<TagCheck> {
  if (!manifest) {
    const json = { tags, model, mapping };
    return sendJson<TagCheck>('tags/check', { method: 'POST', json, signal, repeatable: true });
  }
  const body = new FormData();
  body.append('manifest', manifest, manifest.name);
  body.append('model', model);
  body.append('mapping', JSON.stringify(mapping));
  return sendJson<TagCheck>('tags/check', { method: 'POST', body, signal, repeatable: true });
}

/**
 * Have a table of tags read, and its rows matched to photos; nothing is stored.
 *
 * @param names of the photos, as they will be sent.
 */
export function readTable(
  manifest: File,
  names: readonly string[],
  signal: AbortSignal,
): Promise<TablePreview> {
  const body = new FormData();
  body.append('manifest', manifest, manifest.name);
  // As a file: many names are more than a field of text may hold.
  body.append('photos', new Blob([JSON.stringify(names)], { type: 'application/json' }), 'photos.json');
  return sendJson<TablePreview>('tags/table', { method: 'POST', body, signal, repeatable: true });
}

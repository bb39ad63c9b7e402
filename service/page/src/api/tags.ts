/** What written words mean to a model, before photos are labelled. */

import { sendJson } from './request';
import type { TagCheck } from './types';

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

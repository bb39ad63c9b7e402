/** Audits: a random sample of a job's labels, and what its check says of all of them. */

import { getJson, sendJson } from './request';
import type { Audit } from './types';

export const drawAudit = (job: string, photos: number) =>
  sendJson<Audit>(`jobs/${job}/audits`, { method: 'POST', json: { photos } });

/** The newest audit with what it says by now, or none. */
export async function lastAudit(job: string, signal?: AbortSignal): Promise<Audit | null> {
  const [newest] = await getJson<{ id: string }[]>(`jobs/${job}/audits`, signal);
  return newest ? getJson<Audit>(`jobs/${job}/audits/${newest.id}`, signal) : null;
}

/** Sending photos. Uses XMLHttpRequest because fetch tells nothing of an upload's progress. */

import { connection, type Trouble } from '../state/connection.svelte';
import { session } from '../state/session.svelte';
import { Problem } from './problem';
import { address, pause, randomKey, waitOf } from './request';
import type { Job } from './types';

/**
 * Send a form as a new job.
 *
 * The same `Idempotency-Key` goes with every attempt: a connection lost in the middle makes one job, not two.
 *
 * @param form the body.
 * @param progress is told the share sent, 0..1.
 */
export function submitJob(
  form: FormData,
  progress: (share: number) => void,
  signal: AbortSignal,
): Promise<Job> {
  return connection.during((trouble) => submit(form, progress, signal, trouble));
}

async function submit(
  form: FormData,
  progress: (share: number) => void,
  signal: AbortSignal,
  trouble: Trouble,
): Promise<Job> {
  const idempotencyKey = randomKey();
  for (let attempt = 0; ; attempt++) {
    const key = session.key;
    const answer = await attemptOnce(form, key, idempotencyKey, progress, signal);
    if (answer === null || [502, 503, 504].includes(answer.status)) {
      trouble.begin();
      await pause(waitOf(attempt), signal);
      continue;
    }
    trouble.end();
    if (answer.status === 401) {
      await session.renew(key, Problem.parse(401, answer.text).detail, signal);
      continue;
    }
    if (answer.status >= 400) throw Problem.parse(answer.status, answer.text);
    return JSON.parse(answer.text) as Job;
  }
}

/** Send once; null says that the connection was lost. */
function attemptOnce(
  form: FormData,
  key: string,
  idempotencyKey: string,
  progress: (share: number) => void,
  signal: AbortSignal,
): Promise<{ status: number; text: string } | null> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open('POST', address('jobs'));
    if (key) request.setRequestHeader('authorization', `Bearer ${key}`);
    request.setRequestHeader('idempotency-key', idempotencyKey);
    request.upload.onprogress = (event) => progress(event.total ? event.loaded / event.total : 0);
    request.onload = () => resolve({ status: request.status, text: request.responseText });
    request.onerror = () => resolve(null);
    request.onabort = () => reject(signal.reason as Error);
    signal.addEventListener('abort', () => request.abort(), { once: true });
    request.send(form);
  });
}

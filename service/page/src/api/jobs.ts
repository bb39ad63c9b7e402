/** Jobs: listed, followed as they run, changed. */

import { EventSourceParserStream } from 'eventsource-parser/stream';
import { connection, type Trouble } from '../state/connection.svelte';
import { getJson, pause, send, sendJson, waitOf } from './request';
import type { Job, JobDetails, JobPage } from './types';

// The service sends a sign of life every 15 s.
const SILENCE_MS = 40_000;

export const FINAL_STATES: ReadonlySet<Job['state']> = new Set([
  'succeeded',
  'partly_failed',
  'failed',
  'cancelled',
]);

export const listJobs = (cursor: string | null, signal?: AbortSignal) =>
  getJson<JobPage>(`jobs?limit=30${cursor ? `&cursor=${cursor}` : ''}`, signal);

export const getJob = (id: string, signal?: AbortSignal) => getJson<JobDetails>(`jobs/${id}`, signal);

export const cancelJob = (id: string) =>
  sendJson<{ items: number; job: Job }>(`jobs/${id}/cancel`, { method: 'POST', repeatable: true });

export const retryJob = (id: string, states: readonly ('failed' | 'cancelled')[]) =>
  sendJson<{ items: number; job: Job }>(
    `jobs/${id}/retry?${new URLSearchParams(states.map((state) => ['states', state]))}`,
    { method: 'POST', repeatable: true },
  );

export const deleteJob = (id: string) => sendJson<void>(`jobs/${id}`, { method: 'DELETE' });

/**
 * Follow a job until it ends or nobody looks any more.
 *
 * Events tell the job as it stands, so a connection that was lost has lost nothing. Returns `deleted` if the job
 * went away meanwhile.
 */
export function followJob(
  id: string,
  tell: (job: Job) => void,
  signal: AbortSignal,
): Promise<'ended' | 'deleted'> {
  return connection.during((trouble) => follow(id, tell, signal, trouble));
}

async function follow(
  id: string,
  tell: (job: Job) => void,
  signal: AbortSignal,
  trouble: Trouble,
): Promise<'ended' | 'deleted'> {
  let seen = '-1';
  for (let attempt = 0; ; attempt++) {
    const silence = new AbortController();
    const response = await send(`jobs/${id}/events`, {
      headers: { accept: 'text/event-stream', 'last-event-id': seen },
      signal: AbortSignal.any([signal, silence.signal]),
    });
    let timer = setTimeout(() => silence.abort(), SILENCE_MS);
    try {
      const events = response
        .body!.pipeThrough(
          new TransformStream<Uint8Array, Uint8Array>({
            transform(piece, controller) {
              clearTimeout(timer);
              timer = setTimeout(() => silence.abort(), SILENCE_MS);
              controller.enqueue(piece);
            },
          }),
        )
        .pipeThrough(new TextDecoderStream() as TransformStream<Uint8Array, string>)
        .pipeThrough(new EventSourceParserStream())
        .getReader();
      for (;;) {
        const { value, done } = await events.read();
        if (done) break;
        trouble.end();
        attempt = 0;
        if (value.event === 'deleted') return 'deleted';
        seen = value.id ?? seen;
        tell(JSON.parse(value.data) as Job);
        if (value.event === 'end') return 'ended';
      }
    } catch {
      signal.throwIfAborted();
    } finally {
      clearTimeout(timer);
    }
    trouble.begin();
    await pause(waitOf(attempt), signal);
  }
}

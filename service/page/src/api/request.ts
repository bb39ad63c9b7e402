/**
 * Requests to the API, and to nothing else.
 *
 * What can pass by itself is waited for: a lost connection, a service that restarts, a rate limit, a key that
 * expired. Only what the user has to know is thrown, as `Problem`.
 */

import { connection, type Trouble } from '../state/connection.svelte';
import { session } from '../state/session.svelte';
import { Problem } from './problem';

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 5_000;
export const LONGEST_LIMIT_SECONDS = 60;

export interface Options {
  method?: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  json?: unknown;
  /** Instead of `json`; its type goes with it. */
  body?: Blob | FormData;
  headers?: Record<string, string>;
  signal?: AbortSignal | undefined;
  /** Whether sending it twice does no harm, so that it may be sent again after a lost connection. */
  repeatable?: boolean;
}

/** Address of a part of the API. */
export function address(path: string): string {
  return new URL(`v1/${path}`, document.baseURI).href;
}

/** Send a request and wait for an answer that is no passing trouble. Throws `Problem` and abort errors. */
export function send(path: string, options: Options = {}): Promise<Response> {
  return connection.during((trouble) => attempts(path, options, trouble));
}

async function attempts(path: string, options: Options, trouble: Trouble): Promise<Response> {
  const method = options.method ?? 'GET';
  const repeatable = options.repeatable ?? method !== 'POST';
  for (let attempt = 0; ; attempt++) {
    const key = session.key;
    let response: Response;
    try {
      response = await fetch(address(path), {
        method,
        headers: {
          ...options.headers,
          ...(key ? { authorization: `Bearer ${key}` } : {}),
          ...(options.json === undefined ? {} : { 'content-type': 'application/json' }),
        },
        body: options.json === undefined ? (options.body ?? null) : JSON.stringify(options.json),
        signal: options.signal ?? null,
        cache: 'no-cache',
      });
    } catch (error) {
      options.signal?.throwIfAborted();
      if (!repeatable || !(error instanceof TypeError)) throw new Error('The service cannot be reached.');
      trouble.begin();
      await pause(waitOf(attempt), options.signal);
      continue;
    }
    if ([502, 503, 504].includes(response.status) && repeatable) {
      trouble.begin();
      await pause(waitOf(attempt), options.signal);
      continue;
    }
    trouble.end();
    if (response.status === 401) {
      await session.renew(key, (await Problem.of(response)).detail, options.signal);
      continue;
    }
    const limit = Number(response.headers.get('retry-after'));
    if (response.status === 429 && limit > 0 && limit <= LONGEST_LIMIT_SECONDS) {
      await pause(limit * 1000, options.signal);
      continue;
    }
    if (!response.ok) throw await Problem.of(response);
    return response;
  }
}

export async function getJson<T>(path: string, signal?: AbortSignal): Promise<T> {
  return (await (await send(path, { signal })).json()) as T;
}

export async function sendJson<T>(path: string, options: Options): Promise<T> {
  const response = await send(path, options);
  return (response.status === 204 ? undefined : await response.json()) as T;
}

export async function getBlob(path: string, signal?: AbortSignal): Promise<Blob> {
  return await (await send(path, { signal })).blob();
}

/** An `Idempotency-Key`; `crypto.randomUUID` is missing where the page does not come by https. */
export function randomKey(): string {
  const random = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(random, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

export function waitOf(attempt: number): number {
  return Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** attempt);
}

/** Wait; an abort ends the wait with its reason. */
export function pause(milliseconds: number, signal?: AbortSignal | null): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason as Error);
    const stop = () => {
      clearTimeout(timer);
      reject(signal?.reason as Error);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop);
      resolve();
    }, milliseconds);
    signal?.addEventListener('abort', stop, { once: true });
  });
}

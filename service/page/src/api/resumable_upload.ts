/**
 * Many photos as one zip, sent piece by piece (tus 1.0.0): what arrived before a connection broke is not sent again.
 *
 * The zip is made while it is sent, so it is never held in memory.
 */

import { makeZip, predictLength } from 'client-zip';
import { type DetailedError, Upload } from 'tus-js-client';
import { connection, type Trouble } from '../state/connection.svelte';
import { session } from '../state/session.svelte';
import { Problem } from './problem';
import { address, LONGEST_LIMIT_SECONDS, waitOf } from './request';

const PIECE_BYTES = 8 * 1024 * 1024;
const MANIFEST = 'tags.jsonl';
// Counted anew after every piece that arrives; at the longest wait, hours without one.
const WAITS_MS = Array.from({ length: 5000 }, (_, attempt) => waitOf(attempt));
// The piece before is still being taken in, the service restarts, or asks for a key.
const PASSING = new Set([401, 409, 423, 502, 503, 504]);

export interface TaggedFile {
  file: File;
  name: string;
  /** Empty leaves the photo out of the table of tags: the classifier finds them. */
  tags: readonly string[];
}

/**
 * Send photos and a table of their tags as a resumable upload.
 *
 * @param progress is told the share sent, 0..1.
 * @returns the upload's id, to be named in the job.
 */
export function uploadPhotos(
  photos: readonly TaggedFile[],
  progress: (share: number) => void,
  signal: AbortSignal,
): Promise<string> {
  const entries = zipEntries(photos);
  const length = Number(predictLength(entries));
  return upload(makeZip(entries).getReader(), length, progress, signal);
}

/** Send one file, an archive, as a resumable upload; see `uploadPhotos`. */
export function uploadFile(
  file: File,
  progress: (share: number) => void,
  signal: AbortSignal,
): Promise<string> {
  return upload(file, file.size, progress, signal);
}

function upload(
  content: File | ReadableStreamDefaultReader<Uint8Array>,
  length: number,
  progress: (share: number) => void,
  signal: AbortSignal,
): Promise<string> {
  return connection.during((trouble) => attempts(content, length, progress, signal, trouble));
}

function attempts(
  content: File | ReadableStreamDefaultReader<Uint8Array>,
  length: number,
  progress: (share: number) => void,
  signal: AbortSignal,
  trouble: Trouble,
): Promise<string> {
  return new Promise((resolve, reject) => {
    let id = '';
    let key = session.key;
    const sending = new Upload(content, {
      endpoint: address('uploads'),
      uploadSize: length,
      chunkSize: PIECE_BYTES,
      retryDelays: WAITS_MS,
      storeFingerprintForResuming: false,
      onBeforeRequest(request) {
        key = session.key;
        if (key) request.setHeader('authorization', `Bearer ${key}`);
      },
      async onAfterResponse(_, response) {
        if (response.getStatus() < 500) trouble.end();
        if (response.getStatus() === 401) {
          await session.renew(key, Problem.parse(401, response.getBody()).detail, signal);
        }
      },
      onUploadUrlAvailable() {
        id = sending.url!.split('/').at(-1)!;
        // As this page reaches it, whatever path a proxy serves it at.
        sending.url = address(`uploads/${id}`);
      },
      onShouldRetry(error) {
        const passes = mayPass(error as DetailedError);
        if (passes && (error as DetailedError).originalResponse?.getStatus() !== 401) trouble.begin();
        return passes;
      },
      onProgress: (sent) => progress(sent / length),
      onSuccess: () => resolve(id),
      onError: (error) => reject(signal.aborted ? (signal.reason as Error) : problemOf(error)),
    });
    signal.addEventListener(
      'abort',
      () => {
        void sending.abort();
        reject(signal.reason as Error);
      },
      { once: true },
    );
    signal.throwIfAborted();
    sending.start();
  });
}

/** Whether an error passes by itself: a lost connection, a service that restarts, a rate limit. */
function mayPass(error: DetailedError): boolean {
  const response = error.originalResponse;
  if (!response) return true;
  const limit = Number(response.getHeader('retry-after'));
  if (response.getStatus() === 429) return limit > 0 && limit <= LONGEST_LIMIT_SECONDS;
  return PASSING.has(response.getStatus());
}

function problemOf(error: Error | DetailedError): Error {
  const response = 'originalResponse' in error ? error.originalResponse : null;
  return response ? Problem.parse(response.getStatus(), response.getBody()) : error;
}

function zipEntries(photos: readonly TaggedFile[]) {
  const names = new Set<string>();
  const named = photos.map(({ file, name, tags }) => {
    let unique = name;
    for (let copy = 2; names.has(unique); copy++) unique = name.replace(/(\.[^./]*)?$/, `_${copy}$1`);
    names.add(unique);
    return { file, name: unique, tags };
  });
  const rows = named
    .filter(({ tags }) => tags.length)
    .map(({ name, tags }) => JSON.stringify({ image: name, tags }));
  const manifest = new Blob([`${rows.join('\n')}\n`]);
  return [
    ...(rows.length ? [{ name: MANIFEST, input: manifest, size: manifest.size }] : []),
    ...named.map(({ file, name }) => ({ name, input: file, size: file.size })),
  ];
}

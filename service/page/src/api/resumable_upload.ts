/**
 * Many photos as one zip, sent piece by piece: what arrived before a connection broke is not sent again.
 *
 * Follows tus 1.0.0 (https://tus.io/protocols/resumable-upload). The zip is made while it is sent, so it is never
 * held in memory.
 */

import { makeZip, predictLength } from 'client-zip';
import { Problem } from './problem';
import { pause, send, waitOf } from './request';

const PIECE_BYTES = 8 * 1024 * 1024;
const MANIFEST = 'tags.jsonl';

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
  return upload(makeZip(entries), Number(predictLength(entries)), progress, signal);
}

/** Send one file, an archive, as a resumable upload; see `uploadPhotos`. */
export function uploadFile(
  file: File,
  progress: (share: number) => void,
  signal: AbortSignal,
): Promise<string> {
  return upload(file.stream(), file.size, progress, signal);
}

async function upload(
  content: ReadableStream<Uint8Array>,
  length: number,
  progress: (share: number) => void,
  signal: AbortSignal,
): Promise<string> {
  const begun = await send('uploads', {
    method: 'POST',
    headers: { 'tus-resumable': '1.0.0', 'upload-length': String(length) },
    repeatable: true,
    signal,
  });
  const id = begun.headers.get('location')!.split('/').at(-1)!;
  let offset = 0;
  for await (const piece of pieces(content)) {
    await sendPiece(id, offset, piece, signal);
    offset += piece.size;
    progress(offset / length);
  }
  return id;
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

async function* pieces(stream: ReadableStream<Uint8Array>): AsyncGenerator<Blob> {
  const reader = stream.getReader();
  let parts: BlobPart[] = [];
  let size = 0;
  for (;;) {
    const { value, done } = await reader.read();
    if (value) {
      parts.push(value as Uint8Array<ArrayBuffer>);
      size += value.length;
    }
    if ((done && size) || size >= PIECE_BYTES) {
      yield new Blob(parts);
      [parts, size] = [[], 0];
    }
    if (done) return;
  }
}

async function sendPiece(id: string, start: number, piece: Blob, signal: AbortSignal): Promise<void> {
  let sent = 0;
  for (let attempt = 0; sent < piece.size; attempt++) {
    try {
      await send(`uploads/${id}`, {
        method: 'PATCH',
        headers: { 'tus-resumable': '1.0.0', 'upload-offset': String(start + sent) },
        body: new Blob([piece.slice(sent)], { type: 'application/offset+octet-stream' }),
        signal,
      });
      return;
    } catch (error) {
      if (!(error instanceof Problem) || error.status !== 409) throw error;
    }
    // A broken request left a part of it there, or is still being taken in: ask where to go on.
    await pause(waitOf(attempt), signal);
    const answer = await send(`uploads/${id}`, { method: 'HEAD', signal });
    sent = Math.max(0, Number(answer.headers.get('upload-offset')) - start);
  }
}

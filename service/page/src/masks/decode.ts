/** Pictures of the API as arrays. */

import { INDEX_OF_COLOUR, IGNORE } from './palette';

/** Pictures have no more pixels: a canvas holds no more everywhere. */
export const MOST_DRAWN = 24_000_000;
/** Masks have no more, values of their own for each pixel of the photo; larger ones are shown shrunk, and not mended. */
export const MOST_MENDED = 128_000_000;
const STRIP = 4_000_000; // pixels that are read at once

/** Bytes of one value a pixel, row by row. */
export interface Plane {
  width: number;
  height: number;
  values: Uint8Array;
}

/** Read a palette PNG of mask indices, each pixel of it; one that is too large to be mended is shrunk (nearest pixel). */
export async function decodeMask(blob: Blob): Promise<Plane> {
  // Masks have long runs of one value: looking a colour up once a run is enough.
  let [last, index] = [-1, 0];
  return read(blob, (data, values) => {
    for (let pixel = 0, at = 0; pixel < values.length; pixel++, at += 4) {
      const colour = (data[at]! << 16) | (data[at + 1]! << 8) | data[at + 2]!;
      if (colour !== last) [last, index] = [colour, INDEX_OF_COLOUR.get(colour) ?? IGNORE];
      values[pixel] = index;
    }
  });
}

/** Read a grey PNG: one byte a pixel, 255 for score 1. */
export function decodeGrey(blob: Blob): Promise<Plane> {
  return read(blob, (data, values) => {
    for (let pixel = 0; pixel < values.length; pixel++) values[pixel] = data[4 * pixel]!;
  });
}

/** Read a photo, upright, shrunk to what is drawn. Throws where the browser cannot read its format. */
export async function decodePhoto(blob: Blob): Promise<ImageBitmap> {
  const bitmap = await createImageBitmap(blob);
  const [width, height] = within(bitmap, MOST_DRAWN);
  if (width === bitmap.width) return bitmap;
  const shrunk = await createImageBitmap(bitmap, {
    resizeWidth: width,
    resizeHeight: height,
    resizeQuality: 'high',
  });
  bitmap.close();
  return shrunk;
}

/** Have the values of a picture's pixels taken from its RGBA, some rows at a time. */
async function read(blob: Blob, take: (data: Uint8ClampedArray, values: Uint8Array) => void): Promise<Plane> {
  // Values, not colours: nothing may convert them.
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: 'none', premultiplyAlpha: 'none' });
  const [width, height] =
    bitmap.width * bitmap.height <= MOST_MENDED ? [bitmap.width, bitmap.height] : within(bitmap, MOST_DRAWN);
  const values = new Uint8Array(width * height);
  const rows = Math.max(1, Math.min(height, Math.floor(STRIP / width)));
  const canvas = new OffscreenCanvas(width, rows);
  const context = canvas.getContext('2d', { willReadFrequently: true })!;
  context.imageSmoothingEnabled = false;
  for (let top = 0; top < height; top += rows) {
    const bottom = Math.min(height, top + rows);
    context.drawImage(bitmap, 0, -top, width, height);
    take(context.getImageData(0, 0, width, bottom - top).data, values.subarray(top * width, bottom * width));
  }
  bitmap.close();
  return { width, height, values };
}

function within({ width, height }: { width: number; height: number }, limit: number): [number, number] {
  const scale = Math.min(1, Math.sqrt(limit / (width * height)));
  return [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
}

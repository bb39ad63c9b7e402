/** Pictures of the API as arrays. */

import { INDEX_OF_COLOUR, IGNORE } from './palette';

/** Bytes of one value a pixel, row by row. */
export interface Plane {
  width: number;
  height: number;
  values: Uint8Array;
}

/** Read a palette PNG of mask indices. `limit` shrinks larger ones (nearest pixel) to that many pixels. */
export async function decodeMask(blob: Blob, limit: number): Promise<Plane> {
  const { width, height, data } = await pixels(blob, limit);
  const values = new Uint8Array(width * height);
  // Masks have long runs of one value: looking a colour up once a run is enough.
  let [last, index] = [-1, 0];
  for (let pixel = 0, at = 0; pixel < values.length; pixel++, at += 4) {
    const colour = (data[at]! << 16) | (data[at + 1]! << 8) | data[at + 2]!;
    if (colour !== last) [last, index] = [colour, INDEX_OF_COLOUR.get(colour) ?? IGNORE];
    values[pixel] = index;
  }
  return { width, height, values };
}

/** Read a grey PNG: one byte a pixel, 255 for score 1. */
export async function decodeGrey(blob: Blob): Promise<Plane> {
  const { width, height, data } = await pixels(blob, Infinity);
  const values = new Uint8Array(width * height);
  for (let pixel = 0; pixel < values.length; pixel++) values[pixel] = data[4 * pixel]!;
  return { width, height, values };
}

/** Read a photo, upright, at most `limit` pixels. Throws where the browser cannot read its format. */
export async function decodePhoto(blob: Blob, limit: number): Promise<ImageBitmap> {
  const bitmap = await createImageBitmap(blob);
  const [width, height] = within(bitmap, limit);
  if (width === bitmap.width) return bitmap;
  const shrunk = await createImageBitmap(bitmap, {
    resizeWidth: width,
    resizeHeight: height,
    resizeQuality: 'high',
  });
  bitmap.close();
  return shrunk;
}

async function pixels(blob: Blob, limit: number): Promise<ImageData> {
  // Values, not colours: nothing may convert them.
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: 'none', premultiplyAlpha: 'none' });
  const [width, height] = within(bitmap, limit);
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext('2d', { willReadFrequently: true })!;
  context.imageSmoothingEnabled = false;
  context.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  return context.getImageData(0, 0, width, height);
}

function within({ width, height }: { width: number; height: number }, limit: number): [number, number] {
  const scale = Math.min(1, Math.sqrt(limit / (width * height)));
  return [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
}

/** Everything that is drawn of one item: photo, masks, CAMs. */

import { getArtifact, getCam, getPhoto, getPreview } from '../api/items';
import type { Item } from '../api/types';
import { CamStack } from '../masks/cam_stack';
import { decodeGrey, decodeMask, decodePhoto } from '../masks/decode';
import { Mask } from '../masks/mask';

const PREVIEW_SIDE = 4096;
const KEPT = 4;

export interface Layers {
  item: Item;
  photo: ImageBitmap;
  pseudoMask: Mask | null;
  segmentation: Mask | null;
  cams: CamStack | null;
}

const kept = new Map<string, Promise<Layers>>();

/** Get the layers of an item; the last few items' are kept. */
export function layersOf(item: Item): Promise<Layers> {
  const key = stateOf(item);
  const known = kept.get(key);
  if (known) return known;
  const loading = load(item);
  kept.set(key, loading);
  loading.catch(() => kept.delete(key));
  if (kept.size > KEPT) kept.delete(kept.keys().next().value!);
  return loading;
}

/** Which label of an item is shown: changes when it is made again, mended, or gone back. */
export function stateOf(item: Item): string {
  return `${item.job}/${item.id}/${item.finished_at ?? ''}/${item.revision?.number ?? ''}`;
}

async function load(item: Item): Promise<Layers> {
  const made = new Set(item.artifacts.map((artifact) => artifact.name));
  const mask = async (name: string) =>
    made.has(name)
      ? new Mask(await decodeMask(await getArtifact(item.job, item.id, name))).render(null)
      : null;
  const [photo, pseudoMask, segmentation, cams] = await Promise.all([
    photoOf(item),
    mask('pseudo_mask.png'),
    mask('segmentation.png'),
    made.has('cam.npz') ? camsOf(item) : null,
  ]);
  return { item, photo, pseudoMask, segmentation, cams };
}

async function photoOf(item: Item): Promise<ImageBitmap> {
  try {
    return await decodePhoto(await getPhoto(item.job, item.id));
  } catch (error) {
    // The browser does not know the format (TIFF, say): the service makes a JPEG of it.
    if (!(error instanceof DOMException) || error.name === 'AbortError') throw error;
    return await decodePhoto(await getPreview(item.job, item.id, 'photo', PREVIEW_SIDE));
  }
}

async function camsOf(item: Item): Promise<CamStack | null> {
  const classes = item.summary?.classes ?? [];
  if (!classes.length) return null;
  const cams = await Promise.all(
    classes.map(async ({ name, index }) => ({
      name,
      index,
      plane: await decodeGrey(await getCam(item.job, item.id, name)),
    })),
  );
  return new CamStack(cams);
}

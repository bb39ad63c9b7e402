/** The canvases of the editor: the photo, the mask over it, and what is being drawn. Each is drawn only when it changes. */

import type { ZoomTransform } from 'd3-zoom';
import { fitted, hatch, seen, type View } from '../item/paint';
import type { Mask } from '../masks/mask';
import { cssColour } from '../masks/palette';
import { type Box, isEmpty, type Point } from '../masks/raster';

const SMALLEST = 1200; // pixels across

/**
 * Make the photo smaller by halves, off this thread.
 *
 * Drawing millions of pixels small takes a tenth of a second each time; the next larger level is drawn in a few
 * milliseconds, and looks the same.
 */
export async function levelsOf(photo: ImageBitmap): Promise<ImageBitmap[]> {
  const levels = [photo];
  for (let level = photo; level.width > SMALLEST;) {
    level = await createImageBitmap(level, {
      resizeWidth: Math.ceil(level.width / 2),
      resizeHeight: Math.ceil(level.height / 2),
      resizeQuality: 'high',
    });
    levels.push(level);
  }
  return levels;
}

/** Draw the photo, from the smallest of its levels that is large enough. */
export function drawPhoto(
  canvas: HTMLCanvasElement,
  levels: readonly ImageBitmap[],
  { size, zoom }: Omit<View, 'photo'>,
): void {
  const made = fitted(canvas);
  if (!made) return;
  const { context, ratio } = made;
  const scale = zoom.k * ratio;
  const level = levels.findLast(({ width }) => width >= size.width * scale) ?? levels[0]!;
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.setTransform(scale, 0, 0, scale, zoom.x * ratio, zoom.y * ratio);
  context.imageSmoothingEnabled = scale < 2;
  context.drawImage(level, 0, 0, size.width, size.height);
}

/** Draw the mask, or the part of it that lies in a box of its pixels. */
export function drawMask(
  canvas: HTMLCanvasElement,
  { size, zoom }: Omit<View, 'photo'>,
  mask: Mask,
  look: { opacity: number; hatched: boolean },
  part: Box | null,
): void {
  const made = fitted(canvas);
  if (!made) return;
  const { context, ratio } = made;
  const scale = zoom.k * ratio;
  const toScreen = (box: Box) => ({
    left: Math.floor(box.left * scale + zoom.x * ratio) - 1,
    top: Math.floor(box.top * scale + zoom.y * ratio) - 1,
    right: Math.ceil(box.right * scale + zoom.x * ratio) + 1,
    bottom: Math.ceil(box.bottom * scale + zoom.y * ratio) + 1,
  });
  const all = { left: 0, top: 0, right: canvas.width, bottom: canvas.height };
  if (part && isEmpty(part)) return;
  const wanted = part ? toScreen(part) : all;
  const left = Math.max(0, wanted.left);
  const top = Math.max(0, wanted.top);
  const width = Math.min(canvas.width, wanted.right) - left;
  const height = Math.min(canvas.height, wanted.bottom) - top;
  if (width <= 0 || height <= 0) return;
  // Of a part, some pixels around it too, which smoothing looks at.
  const around = Math.ceil(2 / scale) + 1;
  const box = part && {
    left: Math.max(0, part.left - around),
    top: Math.max(0, part.top - around),
    right: Math.min(mask.width, part.right + around),
    bottom: Math.min(mask.height, part.bottom + around),
  };
  const { colours, ignored, at } =
    box && mask.every === 1 ? mask.part(box) : mask.showing(box ?? seen(canvas, { size, zoom }, ratio, mask));
  context.save();
  context.beginPath();
  context.rect(left, top, width, height);
  context.clip();
  context.clearRect(left, top, width, height);
  context.setTransform(scale, 0, 0, scale, zoom.x * ratio, zoom.y * ratio);
  context.imageSmoothingEnabled = scale < 1;
  context.globalAlpha = look.opacity;
  context.drawImage(colours, ...at);
  if (look.hatched) hatch(context, ignored, at, { left, top, width, height }, look.opacity, ratio);
  context.restore();
}

export interface Pen {
  /** Where the pointer is, photo pixels; null outside. */
  at: Point | null;
  /** Width of the brush, photo pixels; 0 draws no ring. */
  size: number;
  value: number;
  trail: readonly Point[];
  closed: boolean;
}

/** Draw the brush's ring, or the line or polygon in hand: light within dark, so that it shows on every photo. */
export function drawPen(canvas: HTMLCanvasElement, zoom: ZoomTransform, pen: Pen): void {
  const made = fitted(canvas);
  if (!made) return;
  const { context, ratio } = made;
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.scale(ratio, ratio);
  context.lineCap = context.lineJoin = 'round';
  const strokes: [number, string][] = [
    [4, 'rgb(0 0 0 / 65%)'],
    [1.75, '#fff'],
  ];
  for (const [width, colour] of strokes) {
    context.lineWidth = width;
    context.strokeStyle = colour;
    if (pen.at && pen.size) {
      context.beginPath();
      const [x, y] = zoom.apply([pen.at.x, pen.at.y]);
      context.arc(x, y, Math.max(1.5, (pen.size * zoom.k) / 2), 0, 2 * Math.PI);
      context.stroke();
    }
    if (!pen.trail.length) continue;
    context.beginPath();
    for (const point of pen.closed && pen.at ? [...pen.trail, pen.at] : pen.trail) {
      context.lineTo(...zoom.apply([point.x, point.y]));
    }
    if (pen.closed) context.closePath();
    context.stroke();
  }
  context.fillStyle = cssColour(pen.value);
  context.strokeStyle = '#fff';
  for (const [position, point] of pen.closed ? pen.trail.entries() : []) {
    context.beginPath();
    context.arc(...zoom.apply([point.x, point.y]), position ? 3.5 : 5.5, 0, 2 * Math.PI);
    context.fill();
    context.stroke();
  }
}

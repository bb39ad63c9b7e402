/** The tools of the editor, as they are shown and chosen by keys. */

import type { Tool } from './editing.svelte';

export const LEAST_SIZE = 1;
export const MOST_SIZE = 400;
const SIZE_STEP = 1.25;

export const TOOLS: readonly { name: Tool; title: string; key: string; does: string }[] = [
  { name: 'smart', title: 'Smart stroke', key: 'q', does: 'a click or scribble takes what looks like it' },
  { name: 'brush', title: 'Brush', key: 'b', does: 'paints the class' },
  { name: 'eraser', title: 'Eraser', key: 'e', does: 'paints background' },
  { name: 'polygon', title: 'Polygon', key: 'p', does: 'fills what you outline' },
  { name: 'fill', title: 'Fill a region', key: 'f', does: 'this region is the class' },
  { name: 'move', title: 'Move', key: 'v', does: 'moves the photo' },
];

/** The next size of the brush, up or down. */
export function sizeAfter(size: number, up: boolean): number {
  const next = up ? Math.max(size + 1, size * SIZE_STEP) : Math.min(size - 1, size / SIZE_STEP);
  return Math.round(Math.min(MOST_SIZE, Math.max(LEAST_SIZE, next)));
}

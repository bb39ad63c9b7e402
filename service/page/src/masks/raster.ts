/** Shapes as pixels of a mask: exact, on typed arrays, so that what is drawn is what is kept. */

import type { Plane } from './decode';

/** A rectangle of pixels; `right` and `bottom` lie outside. Empty where right <= left. */
export interface Box {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

export interface Point {
  x: number;
  y: number;
}

/** Set the pixels from `left` to `right` (outside) of a row; both within the mask. */
export type Span = (row: number, left: number, right: number) => void;

export const NOTHING: Box = { left: Infinity, top: Infinity, right: -Infinity, bottom: -Infinity };

export function union(one: Box, other: Box): Box {
  return {
    left: Math.min(one.left, other.left),
    top: Math.min(one.top, other.top),
    right: Math.max(one.right, other.right),
    bottom: Math.max(one.bottom, other.bottom),
  };
}

export const isEmpty = (box: Box): boolean => box.right <= box.left || box.bottom <= box.top;

/** Pixels whose middle lies within half a `width` of the line between two points; at least the pixel of `to`. */
export function line(
  { width: columns, height: rows }: Plane,
  from: Point,
  to: Point,
  width: number,
  span: Span,
): Box {
  const radius = Math.max(width / 2, 0.5);
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const length = Math.hypot(dx, dy) || 1;
  const [across, down] = [(-dy / length) * radius, (dx / length) * radius];
  // The body between the two round ends, as a polygon.
  const body: Point[] = [
    { x: from.x + across, y: from.y + down },
    { x: to.x + across, y: to.y + down },
    { x: to.x - across, y: to.y - down },
    { x: from.x - across, y: from.y - down },
  ];
  let box = NOTHING;
  const top = Math.max(0, Math.floor(Math.min(from.y, to.y) - radius));
  const bottom = Math.min(rows, Math.ceil(Math.max(from.y, to.y) + radius));
  for (let row = top; row < bottom; row++) {
    const y = row + 0.5;
    let [left, right] = [Infinity, -Infinity];
    for (const end of [from, to]) {
      const half = radius * radius - (y - end.y) ** 2;
      if (half < 0) continue;
      left = Math.min(left, end.x - Math.sqrt(half));
      right = Math.max(right, end.x + Math.sqrt(half));
    }
    for (const x of crossings(body, y)) {
      left = Math.min(left, x);
      right = Math.max(right, x);
    }
    box = union(box, setSpan(row, left, right, columns, span));
  }
  if (!isEmpty(box)) return box;
  const [column, row] = [Math.floor(to.x), Math.floor(to.y)];
  if (column < 0 || row < 0 || column >= columns || row >= rows) return NOTHING;
  span(row, column, column + 1);
  return { left: column, top: row, right: column + 1, bottom: row + 1 };
}

/** Pixels whose middle lies inside a polygon, by the even-odd rule. */
export function polygon({ width: columns, height: rows }: Plane, corners: readonly Point[], span: Span): Box {
  let box = NOTHING;
  const ys = corners.map(({ y }) => y);
  const top = Math.max(0, Math.floor(Math.min(...ys)));
  const bottom = Math.min(rows, Math.ceil(Math.max(...ys)));
  for (let row = top; row < bottom; row++) {
    const xs = crossings(corners, row + 0.5).sort((a, b) => a - b);
    for (let at = 0; at + 1 < xs.length; at += 2) {
      box = union(box, setSpan(row, xs[at]!, xs[at + 1]!, columns, span));
    }
  }
  return box;
}

/** The region of one value around a pixel: pixels that share an edge, row by row. */
export function region({ width, height, values }: Plane, column: number, row: number, span: Span): Box {
  const value = values[row * width + column]!;
  const seen = new Uint8Array(width * height);
  const open = [row * width + column];
  let box = NOTHING;
  while (open.length) {
    const start = open.pop()!;
    if (seen[start]) continue;
    const y = Math.floor(start / width);
    const first = y * width;
    let left = start;
    while (left > first && values[left - 1] === value && !seen[left - 1]) left--;
    let right = start + 1;
    while (right < first + width && values[right] === value && !seen[right]) right++;
    seen.fill(1, left, right);
    for (const step of [-width, width]) {
      if ((step < 0 && y === 0) || (step > 0 && y === height - 1)) continue;
      // One way in for each run of the neighbouring row.
      for (let at = left + step, inside = false; at < right + step; at++) {
        const fits = values[at] === value && !seen[at];
        if (fits && !inside) open.push(at);
        inside = fits;
      }
    }
    span(y, left - first, right - first);
    box = union(box, { left: left - first, top: y, right: right - first, bottom: y + 1 });
  }
  return box;
}

/** Run lengths of COCO (columns first, beginning outside) in a box, as a row-major mask of ones. */
export function decodeRuns(
  counts: readonly number[],
  [height = 0, width = 0]: readonly number[],
): Uint8Array {
  const mask = new Uint8Array(height * width);
  let [row, column] = [0, 0];
  counts.forEach((count, position) => {
    if (position % 2 === 0) {
      column += Math.floor((row + count) / height);
      row = (row + count) % height;
      return;
    }
    for (let left = count; left > 0;) {
      const end = Math.min(height, row + left);
      left -= end - row;
      for (let at = row * width + column; row < end; row++, at += width) mask[at] = 1;
      if (row === height) [row, column] = [0, column + 1];
    }
  });
  return mask;
}

function crossings(corners: readonly Point[], y: number): number[] {
  const xs: number[] = [];
  corners.forEach((one, position) => {
    const other = corners[(position + 1) % corners.length]!;
    if (one.y <= y === other.y <= y) return;
    xs.push(one.x + ((y - one.y) / (other.y - one.y)) * (other.x - one.x));
  });
  return xs;
}

/** Set the pixels of a row whose middle lies between two places. */
function setSpan(row: number, from: number, to: number, columns: number, span: Span): Box {
  const left = Math.max(0, Math.ceil(from - 0.5));
  const right = Math.min(columns, Math.floor(to - 0.5) + 1);
  if (right <= left) return NOTHING;
  span(row, left, right);
  return { left, top: row, right, bottom: row + 1 };
}

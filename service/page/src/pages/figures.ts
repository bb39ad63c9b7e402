/** Free-form figures as rows of a table. */

export interface Row {
  name: string;
  value: string;
}

const MOST_DIGITS = 4;

/** Flatten nested objects to rows with the path as their name, such as `voc val · mIoU`. */
export function rowsOf(value: unknown, path: readonly string[] = []): Row[] {
  if (value !== null && typeof value === 'object' && !Array.isArray(value)) {
    return Object.entries(value).flatMap(([name, inner]) =>
      rowsOf(inner, [...path, name.replaceAll('_', ' ')]),
    );
  }
  return path.length ? [{ name: path.join(' · '), value: textOf(value) }] : [];
}

function textOf(value: unknown): string {
  if (typeof value === 'number' && !Number.isInteger(value))
    return String(Number(value.toPrecision(MOST_DIGITS)));
  if (Array.isArray(value)) return value.map(textOf).join(', ');
  return value === null || value === undefined ? '–' : String(value);
}

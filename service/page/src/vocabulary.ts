/** The classes that a model knows, and what people call them. Follows `model/photos/classes.py`. */

import type { ModelClass } from './api/types';

/** Comparison form of a tag: case, spaces, hyphens and underscores do not count. */
export function fold(tag: string): string {
  return tag
    .trim()
    .toLowerCase()
    .replace(/[\s_-]+/g, '');
}

export interface Match {
  entry: ModelClass;
  /** The synonym that matched, if it was not the name. */
  synonym: string | null;
}

export class Vocabulary {
  readonly #classes = new Map<string, ModelClass>();

  constructor(readonly classes: readonly ModelClass[]) {
    for (const entry of classes) {
      for (const spelling of [entry.name, ...entry.synonyms]) this.#classes.set(fold(spelling), entry);
    }
  }

  find(tag: string): ModelClass | undefined {
    return this.#classes.get(fold(tag));
  }

  /** Classes whose name or a synonym holds the text; those that begin with it come first. */
  search(text: string): Match[] {
    const wanted = fold(text);
    const found: (Match & { rank: number })[] = [];
    for (const entry of this.classes) {
      const spellings = [entry.name, ...entry.synonyms];
      const ranks = spellings.map((spelling, position) => {
        const at = fold(spelling).indexOf(wanted);
        return at < 0 ? Infinity : (at > 0 ? 2 : 0) + (position > 0 ? 1 : 0);
      });
      const rank = Math.min(...ranks);
      if (rank === Infinity) continue;
      const best = ranks.indexOf(rank);
      found.push({ entry, synonym: best > 0 ? (spellings[best] ?? null) : null, rank });
    }
    return found.sort((a, b) => a.rank - b.rank);
  }

  /** The class whose spelling is closest to an unknown tag, if one is close. */
  closest(tag: string): ModelClass | undefined {
    const wanted = fold(tag);
    let best: ModelClass | undefined;
    let least = Math.max(1, Math.floor(wanted.length / 3)) + 1;
    for (const [spelling, entry] of this.#classes) {
      const distance = editDistance(wanted, spelling, least);
      if (distance < least) [best, least] = [entry, distance];
    }
    return best;
  }
}

/** Edits between two words (optimal string alignment), or `limit` as soon as it cannot be fewer. */
function editDistance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) >= limit) return limit;
  const rows = [Array.from({ length: b.length + 1 }, (_, column) => column)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    const above = rows[i - 1]!;
    for (let j = 1; j <= b.length; j++) {
      const change = above[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(change, above[j]! + 1, row[j - 1]! + 1));
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (swapped) row[j] = Math.min(row[j]!, rows[i - 2]![j - 2]! + 1);
    }
    rows.push(row);
  }
  return Math.min(limit, rows[a.length]![b.length]!);
}

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
}

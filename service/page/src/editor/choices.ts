/** The classes that can be drawn on a photo. */

import type { Item, ModelClass } from '../api/types';
import { BACKGROUND, IGNORE } from '../masks/palette';

export interface Choice {
  index: number;
  name: string;
  /** That chooses it; empty where keys are used up. */
  key: string;
}

const DIGITS = 9;

/** Background, the photo's tags, what the mask shows besides, what was added; open comes last. */
export function choicesOf(
  item: Item,
  shown: Iterable<number>,
  added: readonly number[],
  nameOf: (index: number) => string,
): Choice[] {
  const tagged = (item.summary?.classes ?? []).map(({ index }) => index);
  const classes = [...new Set([...tagged, ...shown, ...added])].filter(
    (index) => index !== BACKGROUND && index !== IGNORE,
  );
  return [
    { index: BACKGROUND, name: 'background', key: '0' },
    ...classes.map((index, position) => ({
      index,
      name: nameOf(index),
      key: position < DIGITS ? String(position + 1) : '',
    })),
    { index: IGNORE, name: 'open', key: 'o' },
  ];
}

/** Classes of the model that are not among the choices. */
export function othersOf(classes: readonly ModelClass[], choices: readonly Choice[]): ModelClass[] {
  const known = new Set(choices.map(({ index }) => index));
  return classes
    .filter(({ index }) => !known.has(index))
    .sort((one, other) => one.name.localeCompare(other.name));
}

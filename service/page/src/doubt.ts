/** What doubt is, and why a label has it: the same signs as `workers/summary.py` reckons it from. */

import type { ClassFigures, NextItems, Summary } from './api/types';
import { percent, plural, score, whole } from './format';

export const DOUBT =
  'Doubt, 0 to 1, says how much a label deserves a look: in full where a word was not understood, else the worst of ' +
  'three signs. These are pixels that are left open, a tag that its mask shows weakly or not at all, and a tag ' +
  'that the classifier itself does not see.';

export const TEACHES =
  'Undecided labels, the most doubtful ones first, spread over classes and kinds of photos. What you mend or accept ' +
  'teaches the others when they learn again.';

/** What is left to look at. */
export const leftOf = ({ undecided, labelled, doubtful }: NextItems['left']) =>
  `${whole(undecided)} of ${plural(labelled, 'label')} undecided, ${whole(doubtful)} of them doubtful`;

/** The sign that makes a label as doubtful as it is, in a sentence. */
export function reasonOf(summary: Summary): string {
  if (summary.open_tags.length) return `Not understood: ${summary.open_tags.join(', ')}.`;
  if (!summary.classes.length) {
    return summary.tag_source === 'model' ? 'The classifier found no tag.' : 'Nothing is tagged.';
  }
  const weakest = least(summary.classes, ({ score }) => score);
  const unseen = least(summary.classes, ({ tag_probability }) => tag_probability);
  const signs: [number, string][] = [
    [summary.ignore_ratio, `${percent(summary.ignore_ratio)} of the pixels are left open.`],
    [
      1 - weakest.score,
      weakest.area === 0
        ? `No pixel shows “${weakest.name}”.`
        : `“${weakest.name}” is weak where the mask shows it (score ${score(weakest.score)}).`,
    ],
    [
      1 - unseen.tag_probability,
      `The classifier hardly sees “${unseen.name}” (belief ${score(unseen.tag_probability)}).`,
    ],
  ];
  return signs.reduce((worst, sign) => (sign[0] > worst[0] ? sign : worst))[1];
}

function least(classes: readonly ClassFigures[], measure: (figures: ClassFigures) => number): ClassFigures {
  return classes.reduce((found, other) => (measure(other) < measure(found) ? other : found));
}

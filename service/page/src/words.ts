/** What states, measures and presets are called on the page. */

import type { Decisions, FindingKind, Item, Job, Revision, Why, WordReport } from './api/types';
import { plural } from './format';
import type { Order } from './gallery/query';

/** What a job is called that may have no name. */
export const titleOf = ({ name, total }: Pick<Job, 'name' | 'total'>) => name || plural(total, 'photo');

export const JOB_STATE: Record<Job['state'], string> = {
  queued: 'Queued',
  learning: 'Learning words',
  running: 'Running',
  succeeded: 'Done',
  partly_failed: 'Done, some failed',
  failed: 'Failed',
  cancelled: 'Cancelled',
};

export const ITEM_STATE: Record<Item['state'], string> = {
  queued: 'Queued',
  running: 'Running',
  done: 'Labelled',
  failed: 'Failed',
  cancelled: 'Cancelled',
};

/** What deserves a look, as the command line calls it. */
export const FINDING: Record<FindingKind, string> = {
  wrong_tag: 'Tags that the photo does not seem to show',
  missing_tag: 'Classes that the photo seems to show, without a tag',
  looks_alike: 'Photos that look alike',
  too_dark: 'Dark photos',
  too_small: 'Small photos',
  always_together: 'Words that always come together',
  too_few: 'Words on few photos',
  not_checked: 'Words whose tags were not checked',
};

/** How a word stands that a job was to learn. */
export const STANDING: Record<WordReport['standing'], string> = {
  learnt: 'Learnt',
  weak: 'Weak: look at its masks',
  too_few_photos: 'Left open: too few photos',
  not_told_apart: 'Left open: always with another word',
  not_found: 'Left open: not found in its photos',
};

/** Which labels of a job are taken, in exports and data sets. */
export const DECISIONS: Record<Decisions, string> = {
  all: 'All',
  not_rejected: 'All but the rejected',
  accepted: 'Accepted only',
};

/** Why a word is understood as it is. */
export const WHY: Record<Why, string> = {
  exact: 'its name',
  synonym: 'another name',
  plural: 'plural or singular',
  kind: 'a kind of it',
  mapping: 'as you said',
  unknown: 'not understood',
  ambiguous: 'may mean several things',
};

export const ORDER: Record<Order, string> = {
  doubt: 'Most doubtful first',
  next: 'What to look at first',
  ignore_ratio: 'Most ignored first',
  score: 'Weakest score first',
  area_ratio: 'Largest area first',
  index: 'As uploaded',
  open_tags: 'Most words left open first',
  empty_tags: 'Most tags without pixels first',
};

/** How a revision was made. */
export const HOW: Record<Revision['how'], string> = {
  machine: 'As labelled',
  thresholds: 'Other thresholds',
  tags: 'Other tags',
  brush: 'Mended here',
  upload: 'Mask sent',
  label_studio: 'From Label Studio',
  cvat: 'From CVAT',
  learnt: 'Learnt again',
};

/** What states, measures and presets are called on the page. */

import type { Item, Job, Measure } from './api/types';

export const JOB_STATE: Record<Job['state'], string> = {
  queued: 'Queued',
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

export const ORDER: Record<Measure, string> = {
  doubt: 'Most doubtful first',
  ignore_ratio: 'Most ignored first',
  score: 'Weakest score first',
  area_ratio: 'Largest area first',
  index: 'As uploaded',
};

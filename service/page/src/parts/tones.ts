/** Which colour a state is shown in. */

import type { Item, Job } from '../api/types';

export const JOB_TONE = {
  queued: 'idle',
  learning: 'active',
  running: 'active',
  succeeded: 'good',
  partly_failed: 'warn',
  failed: 'bad',
  cancelled: 'idle',
} as const satisfies Record<Job['state'], string>;

export const ITEM_TONE = {
  queued: 'idle',
  running: 'active',
  done: 'good',
  failed: 'bad',
  cancelled: 'idle',
} as const satisfies Record<Item['state'], string>;

/** What trainings are called on the page. */

import type { Training } from '../api/types';

export const TRAINING_STATE: Record<Training['state'], string> = {
  queued: 'Waits',
  running: 'Training',
  succeeded: 'Trained',
  failed: 'Failed',
  cancelled: 'Cancelled',
};

export const TRAINING_TONE = {
  queued: 'idle',
  running: 'active',
  succeeded: 'good',
  failed: 'bad',
  cancelled: 'idle',
} as const satisfies Record<Training['state'], string>;

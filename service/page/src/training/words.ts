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

/** What people choose by; the service's documentation says the same. */
export const RECIPES: Record<string, string> = {
  quick: '150 steps. For a first look at whether the tags suffice.',
  standard: '600 steps. For most work.',
  thorough: 'Two rounds of 800 steps: the second learns from what the first one sees.',
};

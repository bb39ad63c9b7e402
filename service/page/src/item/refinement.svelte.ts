/** A label made again on the server with other thresholds, as the item's next revision. */

import { getItem } from '../api/items';
import { followJob } from '../api/jobs';
import { explain, isAbort } from '../api/problem';
import { reviseThresholds } from '../api/revisions';
import type { Item, Thresholds } from '../api/types';

export class Refinement {
  running = $state(false);
  problem = $state('');
  /** Number of the revision that was made; 0 before. */
  made = $state(0);
  #stop = new AbortController();

  /** Forget it, and stop waiting for one that runs. */
  reset(): void {
    this.#stop.abort();
    this.running = false;
    this.problem = '';
    this.made = 0;
  }

  /** Have the label made; returns the item as it is then, or null. */
  async run(item: Item, options: { thresholds: Thresholds; ignore_band: boolean }): Promise<Item | null> {
    this.reset();
    this.#stop = new AbortController();
    const { signal } = this.#stop;
    this.running = true;
    try {
      const before = item.revision?.latest ?? 0;
      const job = await reviseThresholds(item.job, item.id, options, item.revision?.number ?? 0);
      await followJob(job.id, () => undefined, signal);
      const found = await getItem(item.job, item.id, signal);
      if ((found.revision?.latest ?? 0) <= before) throw new Error('The label could not be made again.');
      return found;
    } catch (error) {
      if (!isAbort(error)) this.problem = explain(error);
      return null;
    } finally {
      if (!signal.aborted) this.running = false;
    }
  }
}

/** A label made again on the server with other thresholds, as a job of one photo. */

import { getItem, relabel } from '../api/items';
import { followJob } from '../api/jobs';
import { explain, isAbort } from '../api/problem';
import type { Thresholds } from '../api/types';
import type { Mask } from '../masks/mask';
import { pseudoMaskOf } from './layers.svelte';

const ONLY_ITEM = '000000';

export class Refinement {
  running = $state(false);
  problem = $state('');
  /** Id of the job that made `mask`; empty before. */
  job = $state('');
  mask = $state.raw<Mask | null>(null);
  #stop = new AbortController();

  /** Forget it, and stop waiting for one that runs. */
  reset(): void {
    this.#stop.abort();
    this.running = false;
    this.problem = '';
    this.job = '';
    this.mask = null;
  }

  /** Have the label made; returns whether there is a mask to show. */
  async run(
    job: string,
    item: string,
    options: { thresholds: Thresholds; ignore_band: boolean },
  ): Promise<boolean> {
    this.reset();
    this.#stop = new AbortController();
    const { signal } = this.#stop;
    this.running = true;
    try {
      const made = await relabel(job, item, options);
      await followJob(made.id, () => undefined, signal);
      const done = await getItem(made.id, ONLY_ITEM, signal);
      if (done.state !== 'done') throw new Error(done.error?.detail ?? `The label is ${done.state}.`);
      this.mask = await pseudoMaskOf(made.id, ONLY_ITEM, signal);
      this.job = made.id;
    } catch (error) {
      if (!isAbort(error)) this.problem = explain(error);
    } finally {
      if (!signal.aborted) this.running = false;
    }
    return this.mask !== null;
  }
}

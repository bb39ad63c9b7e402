/** The newest report of one kind of a job or a data set, and what it says. */

import type { Subject } from '../api/data_sets';
import { askReport, followReport, lastReport } from '../api/reports';
import type { Report, ReportKind } from '../api/types';
import { notices } from '../state/notices.svelte';

export class WatchedReport<Said> {
  report = $state.raw<Report | null>(null);
  said = $state.raw<Said | null>(null);
  /** Whether it is known by now if there is one. */
  known = $state(false);
  readonly running = $derived(this.report?.state === 'queued' || this.report?.state === 'running');
  #watching = new AbortController();
  #reading: Promise<Said> | null = null;

  /** @param read gets what a report says that is done. */
  constructor(
    readonly of: Subject,
    readonly kind: ReportKind,
    readonly read: (report: Report, signal: AbortSignal) => Promise<Said>,
  ) {}

  /** Look for the newest one. */
  open(): void {
    this.#watch((signal) => lastReport(this.of, this.kind, signal));
  }

  /** Ask for one of what there is now. */
  ask(): void {
    this.#watch(() => askReport(this.of, this.kind));
  }

  /** Read what it says again. */
  async reread(): Promise<void> {
    if (this.report?.state !== 'done') return;
    const reading = (this.#reading = this.read(this.report, this.#watching.signal));
    const said = await reading;
    if (reading === this.#reading) this.said = said; // an answer to an earlier question may come later
  }

  close(): void {
    this.#watching.abort();
  }

  #watch(find: (signal: AbortSignal) => Promise<Report | null>): void {
    this.close();
    const { signal } = (this.#watching = new AbortController());
    const watch = async () => {
      const found = await find(signal);
      if (found) await followReport(found, (report) => (this.report = report), signal);
      await this.reread();
      this.known = true;
    };
    watch().catch((error) => {
      this.known = true;
      notices.complain(error);
    });
  }
}

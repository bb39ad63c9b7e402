/** A job's newest report of one kind, and what it says. */

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

  /** @param read gets what a report says that is done. */
  constructor(
    readonly job: string,
    readonly kind: ReportKind,
    readonly read: (report: Report, signal: AbortSignal) => Promise<Said>,
  ) {}

  /** Look for the newest one. */
  open(): void {
    this.#watch((signal) => lastReport(this.job, this.kind, signal));
  }

  /** Ask for one of the job as it is now. */
  ask(): void {
    this.#watch(() => askReport(this.job, this.kind));
  }

  /** Read what it says again. */
  async reread(): Promise<void> {
    if (this.report?.state === 'done') this.said = await this.read(this.report, this.#watching.signal);
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

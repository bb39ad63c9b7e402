/** Work that a button begins: while it runs its buttons wait, and its end is told. */

import { notices } from './notices.svelte';

export class Work {
  busy = $state(false);

  /** @param after is done after each piece of work that went well. */
  constructor(readonly after: () => unknown) {}

  /** Do something; `done` says what came of it, and nothing if it is left out. */
  async run<Made>(work: () => Promise<Made>, done: string | ((made: Made) => string) = ''): Promise<void> {
    this.busy = true;
    try {
      const made = await work();
      const said = typeof done === 'string' ? done : done(made);
      await this.after();
      if (said) notices.say(said);
    } catch (error) {
      notices.complain(error);
    } finally {
      this.busy = false;
    }
  }
}

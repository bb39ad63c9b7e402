/** Short messages at the edge of the page, read out by screen readers. */

import { explain, isAbort } from '../api/problem';

export interface Notice {
  id: number;
  text: string;
  kind: 'info' | 'error';
}

const SHOWN_MS = { info: 4_000, error: 10_000 };

class Notices {
  list = $state<Notice[]>([]);
  #last = 0;

  say(text: string, kind: Notice['kind'] = 'info'): void {
    const id = ++this.#last;
    this.list = [...this.list.filter((notice) => notice.text !== text), { id, text, kind }].slice(-3);
    setTimeout(() => this.drop(id), SHOWN_MS[kind]);
  }

  /** Say what went wrong; that nobody waits for an answer any more is nothing to say. */
  readonly complain = (error: unknown): void => {
    if (!isAbort(error)) this.say(explain(error), 'error');
  };

  drop(id: number): void {
    this.list = this.list.filter((notice) => notice.id !== id);
  }
}

export const notices = new Notices();

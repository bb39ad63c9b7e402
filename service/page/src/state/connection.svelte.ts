/** Whether requests get through. A request in trouble counts until it gets through or nobody waits for it. */

export interface Trouble {
  begin(): void;
  end(): void;
}

class Connection {
  waiting = $state(0);
  lost = $derived(this.waiting > 0);

  /** Run something that may meet trouble and wait for its end. */
  async during<T>(work: (trouble: Trouble) => Promise<T>): Promise<T> {
    let counted = false;
    const count = (now: boolean) => {
      if (now !== counted) this.waiting += now ? 1 : -1;
      counted = now;
    };
    try {
      return await work({ begin: () => count(true), end: () => count(false) });
    } finally {
      count(false);
    }
  }
}

export const connection = new Connection();

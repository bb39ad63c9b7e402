/** The API key: in memory, or for this tab in session storage if the user says so. Never anywhere else. */

const SLOT = 'toco.key';

class Session {
  key = $state(sessionStorage.getItem(SLOT) ?? '');
  /** Why a key is asked for; empty while none is. */
  question = $state('');
  #waiting: (() => void)[] = [];

  /** Use a key from now on, and let the requests go on that wait for one. */
  signIn(key: string, keep: boolean): void {
    this.key = key;
    if (keep) sessionStorage.setItem(SLOT, key);
    else sessionStorage.removeItem(SLOT);
    this.question = '';
    for (const go of this.#waiting.splice(0)) go();
  }

  signOut(): void {
    this.key = '';
    sessionStorage.removeItem(SLOT);
  }

  /** Ask for another key than the one that was refused; resolves once there is one. */
  renew(refused: string, why: string, signal?: AbortSignal): Promise<void> {
    if (this.key !== refused) return Promise.resolve(); // another request has asked already
    this.question = refused ? why : 'This service asks for an API key.';
    return new Promise((resolve, reject) => {
      this.#waiting.push(resolve);
      signal?.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
    });
  }
}

export const session = new Session();

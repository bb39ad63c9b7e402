/** Where the user is: the part of the address behind the hash, such as `#/jobs/ID/items/000001?order=doubt`. */

class Route {
  path = $state<string[]>([]);
  query = $state.raw(new URLSearchParams());
  /** Asked before the user goes on; says no to hold them here, and may call `go` later. */
  guard: ((go: () => void) => boolean) | null = null;
  #here = location.hash;

  constructor() {
    this.read();
    window.addEventListener('hashchange', () => {
      const wanted = location.hash;
      if (wanted !== this.#here && this.guard && !this.guard(() => (location.hash = wanted))) {
        history.replaceState(null, '', this.#here || '#/');
      } else this.read();
    });
  }

  read(): void {
    this.#here = location.hash;
    const [path = '', query = ''] = location.hash.replace(/^#\/?/, '').split('?', 2);
    const parts = path.split('/').filter(Boolean).map(decodeURIComponent);
    if (parts.join('/') !== this.path.join('/')) this.path = parts;
    if (query !== this.query.toString()) this.query = new URLSearchParams(query);
  }

  /** Do something that leaves what may hold the user. */
  leave(go: () => void): void {
    if (!this.guard || this.guard(go)) go();
  }

  /** Go somewhere; `replace` leaves no entry in the history. */
  go(target: string, { replace = false } = {}): void {
    if (this.guard && target !== this.#here && !this.guard(() => this.go(target, { replace }))) return;
    if (replace) {
      history.replaceState(null, '', target);
      this.read();
    } else location.hash = target;
  }
}

/** Make a link inside the page. */
export function link(parts: readonly string[], query?: URLSearchParams): string {
  const tail = query?.size ? `?${query}` : '';
  return `#/${parts.map(encodeURIComponent).join('/')}${tail}`;
}

export const route = new Route();

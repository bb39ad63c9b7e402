/** Where the user is: the part of the address behind the hash, such as `#/jobs/ID/items/000001?order=doubt`. */

class Route {
  path = $state<string[]>([]);
  query = $state.raw(new URLSearchParams());

  constructor() {
    this.read();
    window.addEventListener('hashchange', () => this.read());
  }

  read(): void {
    const [path = '', query = ''] = location.hash.replace(/^#\/?/, '').split('?', 2);
    const parts = path.split('/').filter(Boolean).map(decodeURIComponent);
    if (parts.join('/') !== this.path.join('/')) this.path = parts;
    if (query !== this.query.toString()) this.query = new URLSearchParams(query);
  }

  /** Go somewhere; `replace` leaves no entry in the history. */
  go(target: string, { replace = false } = {}): void {
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
